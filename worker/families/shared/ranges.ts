/**
 * Which parts of a line of `size` places are free: whole ranges out (first fit) and back (neighbours merge). No range
 * lies over the boundary between two banks.
 */
export class Ranges {
	readonly #bank: number;
	#size = 0;
	/** Disjoint, in order, never touching but at the boundary of banks. */
	#free: { start: number; end: number }[] = [];

	/** `bank`: the most that a range takes; left out: any. */
	constructor(bank = Number.MAX_SAFE_INTEGER) {
		this.#bank = bank;
	}

	get size(): number {
		return this.#size;
	}

	/** First of `count` free places in a row, or undefined when there are none. */
	take(count: number): number | undefined {
		const part = this.#free.find(({ start, end }) => start + count <= end);
		if (count === 0 || !part) return count === 0 ? 0 : undefined;
		const { start } = part;
		part.start += count;
		if (part.start === part.end) this.#free.splice(this.#free.indexOf(part), 1);
		return start;
	}

	/** Takes back what `take` gave. */
	give(start: number, count: number): void {
		if (count === 0) return;
		const at = this.#free.findIndex((part) => part.start > start);
		const index = at === -1 ? this.#free.length : at;
		const merged = { start, end: start + count };
		const touches = (end: number | undefined, next: number | undefined) => end === next && !this.#begins(next);
		const before = touches(this.#free[index - 1]?.end, merged.start) ? this.#free[index - 1] : undefined;
		const after = touches(merged.end, this.#free[index]?.start) ? this.#free[index] : undefined;
		if (before) merged.start = before.start;
		if (after) merged.end = after.end;
		this.#free.splice(before ? index - 1 : index, Number(!!before) + Number(!!after), merged);
	}

	/**
	 * The size at which `take` succeeds for all of `counts`, one after the other. Nothing changes. Throws RangeError
	 * for more than a bank.
	 */
	sizeFor(counts: readonly number[]): number {
		const tried = new Ranges(this.#bank);
		tried.#size = this.#size;
		tried.#free = this.#free.map((part) => ({ ...part }));
		for (const count of counts) {
			if (count > this.#bank) throw new RangeError(`A range of ${count} places is longer than ${this.#bank}.`);
			if (tried.take(count) !== undefined) continue;
			const last = tried.#free[tried.#free.length - 1];
			const first = last?.end === tried.#size && !this.#begins(last.end) ? last.start : tried.#size;
			const within = Math.floor(first / this.#bank) === Math.floor((first + count - 1) / this.#bank);
			tried.growTo((within ? first : Math.ceil(first / this.#bank) * this.#bank) + count);
			tried.take(count);
		}
		return tried.#size;
	}

	/** Adds places at the end until there are `size`. */
	growTo(size: number): void {
		const from = this.#size;
		this.#size = Math.max(from, size);
		for (let start = from; start < this.#size; ) {
			const end = Math.min(this.#size, (Math.floor(start / this.#bank) + 1) * this.#bank);
			this.give(start, end - start);
			start = end;
		}
	}

	/** Whether a bank begins there. */
	#begins(place: number | undefined): boolean {
		return place !== undefined && place % this.#bank === 0;
	}
}
