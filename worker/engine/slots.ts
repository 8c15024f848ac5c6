/** Places of which only so many are held at once; who comes later waits for one. */
export class Slots {
	#free: number;
	/** Who waits, the one that has waited longest first. */
	#queue = new Set<() => void>();

	constructor(count: number) {
		this.#free = count;
	}

	/** Takes one; give it back with `give`. Throws the signal's reason when it comes first, at once. */
	async take(signal: AbortSignal): Promise<void> {
		signal.throwIfAborted();
		if (this.#free > 0) {
			this.#free--;
			return;
		}
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const leave = () => {
			this.#queue.delete(resolve);
			reject(signal.reason);
		};
		this.#queue.add(resolve);
		signal.addEventListener("abort", leave, { once: true });
		await promise.finally(() => signal.removeEventListener("abort", leave));
	}

	give(): void {
		const [next] = this.#queue;
		if (!next) {
			this.#free++;
			return;
		}
		this.#queue.delete(next);
		next();
	}
}
