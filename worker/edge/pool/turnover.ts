/** How long pictures take from their lease to their end, as measured: what a time to come again is worked out from. */

/** Of a new picture in the mean: the last twenty or so count. */
const SHARE = 0.1;
const UNMEASURED_MS = 10_000;

export class Turnover {
	#mean: number | null = null;

	took(milliseconds: number): void {
		this.#mean = this.#mean === null ? milliseconds : this.#mean + SHARE * (milliseconds - this.#mean);
	}

	/** Milliseconds of one picture. */
	get picture(): number {
		return this.#mean ?? UNMEASURED_MS;
	}

	/** Milliseconds until the next of so many places is free. */
	place(slots: number): number {
		return this.picture / Math.max(1, slots);
	}
}
