/**
 * Turns at the memory of a device. Whoever tries out whether there is enough (`Gpu.room`) and takes it then does both
 * in one turn: what two find at the same time may be there for one of them alone.
 */
export class MemoryTurns {
	/** Settles when the last turn is over. */
	#last: Promise<unknown> = Promise.resolve();
	#quiet: Promise<unknown> = Promise.resolve();

	/**
	 * Settles when nothing is being tried out, nor taken at once after that: what is allocated untried, by a round or
	 * beside it, waits for this, and for no turn.
	 */
	get quiet(): Promise<unknown> {
		return this.#quiet;
	}

	/**
	 * Runs `work` when all turns before it are over; it must not wait for another one. It calls `tried` where it takes
	 * its time with what it found, so that rounds do not wait for that. Throws the signal's reason when it comes before
	 * the turn, at once.
	 */
	async take<T>(work: (tried: () => void) => Promise<T>, signal?: AbortSignal): Promise<T> {
		signal?.throwIfAborted();
		const before = this.#last;
		const { promise: over, resolve: end } = Promise.withResolvers<void>();
		const { promise: quiet, resolve: tried } = Promise.withResolvers<void>();
		// Who leaves early still stands behind those before.
		this.#last = before.then(() => over);
		try {
			await orAborted(before, signal);
			this.#quiet = quiet;
			return await work(tried);
		} finally {
			tried();
			end();
		}
	}
}

/** Settles as the promise does; rejects with the signal's reason when it comes first. */
export async function orAborted(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
	const { promise: aborted, reject } = Promise.withResolvers<never>();
	const leave = () => reject(signal?.reason);
	signal?.addEventListener("abort", leave, { once: true });
	await Promise.race([promise, aborted]).finally(() => signal?.removeEventListener("abort", leave));
	signal?.throwIfAborted();
}
