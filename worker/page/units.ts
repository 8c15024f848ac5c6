/** Numbers as people read and write them. */
import { MAX_SEED } from "../protocol/limits.ts";

/** In a sentence. */
export function seconds(milliseconds: number): string {
	return `${(milliseconds / 1000).toFixed(milliseconds < 950 ? 2 : 1)} seconds`;
}

/** Where there is little room. */
export function briefly(milliseconds: number): string {
	return milliseconds < 950 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** A clock that runs: always in tenths of a second, so that its width holds still. */
export function clock(milliseconds: number): string {
	return `${(milliseconds / 1000).toFixed(1)} s`;
}

export function percent(share: number): string {
	return `${Math.round(100 * share)} %`;
}

export function signed(value: number): string {
	return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}

/** A whole number from 0 to `most` as it stands in the form; undefined for anything else. */
export function wholeOf(text: string, most: number): number | undefined {
	const value = text.trim();
	return /^\d{1,10}$/.test(value) && Number(value) <= most ? Number(value) : undefined;
}

export function seedOf(text: string): number | undefined {
	return wholeOf(text, MAX_SEED);
}

export function randomSeed(): number {
	return crypto.getRandomValues(new Uint32Array(1))[0];
}
