import type { StagePlan } from "../protocol/plan.ts";
import type { ScaleRequest } from "./round/parts.ts";

/** What a scale waits for, and whether it still has to. */
interface Awaited {
	there: boolean;
	promise: Promise<void>;
}

/**
 * Kernels that are being compiled, by the scales that need them: a scale runs as soon as its own are there, beside the
 * compiling of what later ones need.
 */
export class Compiling {
	#scales = new WeakMap<StagePlan, readonly Awaited[]>();
	#all: Awaited | undefined;

	/** `scales`: of a plan, settle when a scale's kernels are there; `all`: when those of every plan are. */
	begin(scales: ReadonlyMap<StagePlan, readonly Promise<void>[]>, all: Promise<void>): void {
		for (const [plan, promises] of scales) this.#scales.set(plan, promises.map(awaited));
		this.#all = awaited(Promise.all([this.#all?.promise, all]).then(() => {}));
	}

	/**
	 * What a scale has to wait for; undefined: nothing. One of a plan that was not compiled waits for whatever is. Where
	 * compiling failed, running the scale says why.
	 */
	missing({ picture: { plan }, scale }: Pick<ScaleRequest, "picture" | "scale">): Promise<void> | undefined {
		if (!this.#all || this.#all.there) return undefined;
		const wanted = this.#scales.get(plan)?.[scale] ?? this.#all;
		return wanted.there ? undefined : wanted.promise;
	}
}

function awaited(promise: Promise<void>): Awaited {
	const wait: Awaited = { there: false, promise: Promise.resolve() };
	const done = () => {
		wait.there = true;
	};
	wait.promise = promise.then(done, done);
	return wait;
}
