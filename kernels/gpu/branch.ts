/** A tree of what is known by one value after the other, without a text put together to look it up by. */
export class Branch<T> {
	#branches = new Map<unknown, Branch<T>>();
	leaf: T | undefined;

	by(value: unknown): Branch<T> {
		let branch = this.#branches.get(value);
		if (!branch) this.#branches.set(value, (branch = new Branch()));
		return branch;
	}

	clear(): void {
		this.#branches.clear();
		this.leaf = undefined;
	}
}
