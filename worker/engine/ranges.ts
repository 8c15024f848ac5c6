/** Which parts of a line of `size` places are free: whole ranges out (first fit) and back (neighbours merge). */
export class Ranges {
	#size = 0;
	/** Disjoint, in order, never touching. */
	#free: { start: number; end: number }[] = [];

	get size(): number {
		return this.#size;
	}

	/** First of `count` free places in a row, or undefined when there are none; the start is a multiple of `align`. */
	take(count: number, align = 1): number | undefined {
		for (const [i, { start, end }] of this.#free.entries()) {
			const first = Math.ceil(start / align) * align;
			if (first + count > end) continue;
			this.#free.splice(i, 1, ...[{ start, end: first }, { start: first + count, end }].filter((part) => part.end > part.start));
			return first;
		}
		return undefined;
	}

	/** Takes back what `take` gave. */
	give(start: number, count: number): void {
		const at = this.#free.findIndex((part) => part.start > start);
		const index = at === -1 ? this.#free.length : at;
		const merged = { start, end: start + count };
		const before = this.#free[index - 1]?.end === merged.start ? this.#free[index - 1] : undefined;
		const after = this.#free[index]?.start === merged.end ? this.#free[index] : undefined;
		if (before) merged.start = before.start;
		if (after) merged.end = after.end;
		if (count > 0) this.#free.splice(before ? index - 1 : index, Number(!!before) + Number(!!after), merged);
	}

	/** Adds places at the end until a `take` of `count` must succeed. */
	growFor(count: number, align = 1): void {
		const last = this.#free[this.#free.length - 1];
		const start = last?.end === this.#size ? last.start : this.#size;
		const end = Math.ceil(start / align) * align + count;
		const from = this.#size;
		this.#size = Math.max(this.#size, end);
		this.give(from, this.#size - from);
	}
}
