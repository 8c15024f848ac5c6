/** What a key has taken, and whether it may take more: a bucket of requests a minute, a count of pictures a day. */
import type { Limits } from "../../protocol/api-key.ts";

export interface Taken {
	/** Requests left in the bucket at the time `at`; it fills evenly, up to a minute's worth. */
	tokens: number;
	at: number;
	/** The day, counted from 1970 by UTC, and pictures taken on it. */
	day: number;
	pictures: number;
}

/** What is left, for the headers of an answer. Times in milliseconds. */
export interface Left {
	requests: number;
	/** Until the bucket is full. */
	requestsReset: number;
	pictures: number;
	/** Until midnight. */
	picturesReset: number;
}

const MINUTE = 60_000;
export const DAY = 86_400_000;

export const nothingTaken = ({ per_minute }: Limits, now: number): Taken => ({
	tokens: per_minute,
	at: now,
	day: Math.floor(now / DAY),
	pictures: 0,
});

/** The same at a later time: the bucket has filled, a new day has begun. */
export function later(taken: Taken, { per_minute }: Limits, now: number): Taken {
	const passed = Math.max(0, now - taken.at);
	const day = Math.floor(now / DAY);
	return {
		tokens: Math.min(per_minute, taken.tokens + (passed * per_minute) / MINUTE),
		at: now,
		day,
		pictures: day === taken.day ? taken.pictures : 0,
	};
}

/** What is taken after it; or that it is not taken, and after how many milliseconds it would be. */
type After<Refused> = { taken: Taken; refused?: undefined } | { refused: Refused; wait: number };

/** One request. `taken` is as of now. */
export function take(taken: Taken, { per_minute }: Limits): After<"rate"> {
	// A sum of many fillings falls short of a whole by its rounding.
	if (taken.tokens < 1 - 1e-9) return { refused: "rate", wait: Math.ceil(((1 - taken.tokens) * MINUTE) / per_minute) };
	return { taken: { ...taken, tokens: Math.max(0, taken.tokens - 1) } };
}

/** So many of the day's pictures. `taken` is as of `now`. */
export function spend(taken: Taken, { per_day }: Limits, pictures: number, now: number): After<"quota"> {
	if (pictures > 0 && taken.pictures + pictures > per_day)
		return { refused: "quota", wait: (taken.day + 1) * DAY - now };
	return { taken: { ...taken, pictures: taken.pictures + pictures } };
}

export function leftOf(taken: Taken, limits: Limits, now: number): Left {
	return {
		requests: Math.floor(taken.tokens + 1e-9),
		requestsReset: Math.ceil(((limits.per_minute - taken.tokens) * MINUTE) / limits.per_minute),
		pictures: Math.max(0, limits.per_day - taken.pictures),
		picturesReset: (taken.day + 1) * DAY - now,
	};
}
