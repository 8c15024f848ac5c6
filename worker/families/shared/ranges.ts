/** Which parts of a line of `size` places are free: whole ranges out (first fit) and back (neighbours merge). */
export class Ranges {
	#size = 0;
	/** Disjoint, in order, never touching. */
	#free: { start: number; end: number }[] = [];

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
		const before = this.#free[index - 1]?.end === merged.start ? this.#free[index - 1] : undefined;
		const after = this.#free[index]?.start === merged.end ? this.#free[index] : undefined;
		if (before) merged.start = before.start;
		if (after) merged.end = after.end;
		this.#free.splice(before ? index - 1 : index, Number(!!before) + Number(!!after), merged);
	}

	/** The size at which `take` succeeds for all of `counts`, one after the other. Nothing changes. */
	sizeFor(counts: readonly number[]): number {
		const tried = new Ranges();
		tried.#size = this.#size;
		tried.#free = this.#free.map((part) => ({ ...part }));
		for (const count of counts) {
			if (tried.take(count) !== undefined) continue;
			const last = tried.#free[tried.#free.length - 1];
			tried.growTo((last?.end === tried.#size ? last.start : tried.#size) + count);
			tried.take(count);
		}
		return tried.#size;
	}

	/** Adds places at the end until there are `size`. */
	growTo(size: number): void {
		const from = this.#size;
		this.#size = Math.max(from, size);
		this.give(from, this.#size - from);
	}
}
