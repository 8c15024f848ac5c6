/**
 * An owner of tensors. What is made through a scope is freed when the scope is disposed of, so that a throw half-way
 * through making several leaks none:
 *
 * ```ts
 * using scope = new Scope(gpu);            // freed at the end of the block, whatever is thrown before it
 * const q = scope.tensor("queries", [n, width]);
 * const k = scope.tensor("keys", [n, width]);
 * return { q, k, owned: scope.move() };    // all is there: now somebody else frees it
 * ```
 *
 * A class that owns tensors makes them in a `using` scope in its constructor and keeps `scope.move()`; its `destroy`
 * disposes of what it kept. A replacement is made before the old one is given up, so that a refusal leaves what was:
 *
 * ```ts
 * using scope = new Scope(gpu);
 * const larger = makeWorkspace(scope, size); // a throw here frees the new part; the old one still stands
 * this.#owned[Symbol.dispose]();
 * this.#owned = scope.move();
 * ```
 */
import type { Gpu } from "./gpu.ts";

type Owned = ReturnType<Gpu["tensor"]>;

export class Scope implements Disposable {
	readonly #gpu: Gpu;
	#tensors: Owned[] = [];

	/** Owns nothing yet. */
	constructor(gpu: Gpu) {
		this.#gpu = gpu;
	}

	/** As `Gpu.tensor`, and owns it. Throws what that throws. */
	tensor(...args: Parameters<Gpu["tensor"]>): Owned {
		return this.own(this.#gpu.tensor(...args));
	}

	/** As `Gpu.long`, and owns it. Throws what that throws. */
	long(...args: Parameters<Gpu["long"]>): Owned {
		return this.own(this.#gpu.long(...args));
	}

	/** As `Gpu.upload`, and owns it. Throws what that throws. */
	upload(...args: Parameters<Gpu["upload"]>): Owned {
		return this.own(this.#gpu.upload(...args));
	}

	/** Takes over a tensor that was made elsewhere: a whole one, not a part of a buffer. */
	own(tensor: Owned): Owned {
		this.#tensors.push(tensor);
		return tensor;
	}

	/** Hands all tensors over to the scope returned; this one is empty then, and can go on. */
	move(): Scope {
		const moved = new Scope(this.#gpu);
		[moved.#tensors, this.#tensors] = [this.#tensors, []];
		return moved;
	}

	/** Frees what it owns; the second time there is nothing left to free. */
	[Symbol.dispose](): void {
		this.#gpu.free(...this.#tensors.splice(0));
	}
}
