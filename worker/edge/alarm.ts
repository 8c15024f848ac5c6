/** The one alarm of an object, which rings for the soonest of all that have their time. */
export class Alarm {
	readonly #ctx: DurableObjectState;
	/** Null: none is set. */
	#at: number | null = null;

	constructor(ctx: DurableObjectState) {
		this.#ctx = ctx;
		void ctx.blockConcurrencyWhile(async () => {
			this.#at = await ctx.storage.getAlarm();
		});
	}

	/** Rings at this time at the latest. */
	by(time: number): void {
		if (this.#at !== null && this.#at <= time) return;
		this.#at = time;
		this.#ctx.waitUntil(this.#ctx.storage.setAlarm(time));
	}

	/** It has rung: none is set now. */
	rang(): void {
		this.#at = null;
	}
}
