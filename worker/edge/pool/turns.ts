/**
 * Whose turn it is, so that nobody who asks for much can starve another: start-time fair queueing (Goyal, Vin and
 * Cheng, 1996). Every owner has a clock of its own, on which a job takes 1 / weight; the job that starts first on its
 * owner's clock goes first. An owner who was away begins at the time of the job that was given out last. Pure.
 */

export class Turns {
	/** Start of the job that was given out last. */
	#now = 0;
	/** When each owner's newest job ends on its clock; those before now are left out. */
	readonly #ends = new Map<string, number>();

	/** The start of one more job. */
	next(owner: string | null, weight: number): number {
		const start = Math.max(this.#now, this.#ends.get(owner ?? "") ?? 0);
		this.#ends.set(owner ?? "", start + 1 / weight);
		return start;
	}

	/** A job was given out. */
	given(start: number): void {
		if (start <= this.#now) return;
		this.#now = start;
		for (const [owner, end] of this.#ends) if (end <= start) this.#ends.delete(owner);
	}

	/** An owner's job goes before it was given out: if it was the newest, the next one takes its place. */
	gone(owner: string | null, weight: number, start: number): void {
		if (this.#ends.get(owner ?? "") === start + 1 / weight) this.#ends.set(owner ?? "", start);
	}

	/** A job of before a sleep, of which the first that waits says what time it is. */
	known(owner: string | null, weight: number, start: number, waits: boolean): void {
		if (!waits) this.#now = Math.max(this.#now, start);
		this.#ends.set(owner ?? "", Math.max(this.#ends.get(owner ?? "") ?? 0, start + 1 / weight));
	}
}

/** One owner may have twice as many waiting as there are places left: there is always room for another's. */
const SHARE = 2;

/**
 * Whether `more` of an owner's jobs may wait, who has `mine` waiting, where `queued` of `limit` do (dynamic thresholds,
 * Choudhury and Hahne, 1998). Where no key is asked for, all are one household.
 */
export function mayWait(
	owner: string | null,
	{ mine, more, queued, limit }: { mine: number; more: number; queued: number; limit: number },
): boolean {
	const left = limit - queued - more;
	return left >= 0 && (owner === null || mine + more <= Math.max(1, SHARE * left));
}

/** How many of an owner's jobs may wait that come together, where nobody else's do. */
export function mostTogether(owner: string | null, limit: number): number {
	return owner === null ? limit : Math.max(Math.min(1, limit), Math.floor((SHARE * limit) / (SHARE + 1)));
}
