/** Workers that lost their connection, as all do in a deploy, and may be about to dial again. */

/** Workers dial again within seconds; after this long they are gone. */
const NOT_LONGER_MS = 30_000;

export class Returns {
	readonly #kv: DurableObjectState["storage"]["kv"];
	readonly #waiting = new Set<() => void>();

	/** `lost`: whether some were lost while there was no pool to see it. */
	constructor(kv: DurableObjectState["storage"]["kv"], lost: boolean) {
		this.#kv = kv;
		if (lost) this.left();
	}

	/** A connection was lost, without a goodbye. */
	left(): void {
		this.#kv.put("left", Date.now());
	}

	came(): void {
		for (const resume of this.#waiting) resume();
	}

	/** When the next worker is there, or none has come for so long; at once where none was lost lately. */
	async next(milliseconds: number): Promise<void> {
		if (milliseconds <= 0 || Date.now() - (this.#kv.get<number>("left") ?? 0) > NOT_LONGER_MS) return;
		const { promise, resolve } = Promise.withResolvers<void>();
		const timer = setTimeout(resolve, milliseconds);
		this.#waiting.add(resolve);
		await promise;
		clearTimeout(timer);
		this.#waiting.delete(resolve);
	}
}
