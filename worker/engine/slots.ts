/** Places of which only so many are held at once; who comes later waits for one. */
export class Slots {
	#free: number;
	/** Who waits, and for how many, the one that has waited longest first. */
	#queue = new Map<() => void, number>();

	constructor(count: number) {
		this.#free = count;
	}

	/**
	 * Takes so many, once all of them are free; give them back with `give`. Throws the signal's reason when it comes
	 * first, at once.
	 */
	async take(signal: AbortSignal, count = 1): Promise<void> {
		signal.throwIfAborted();
		if (this.#queue.size === 0 && this.#free >= count) {
			this.#free -= count;
			return;
		}
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const leave = () => {
			this.#queue.delete(resolve);
			reject(signal.reason);
			this.give(0);
		};
		this.#queue.set(resolve, count);
		signal.addEventListener("abort", leave, { once: true });
		await promise.finally(() => signal.removeEventListener("abort", leave));
	}

	give(count = 1): void {
		this.#free += count;
		for (const [next, wanted] of this.#queue) {
			if (wanted > this.#free) return;
			this.#free -= wanted;
			this.#queue.delete(next);
			next();
		}
	}
}
