/** Seeded random numbers: the same seed asks the same questions at the same times. */
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** Uniform on [0, 1). */
export type Random = () => number;

const WARM_UP = 16;

/** A stream of its own for every purpose, so that one more draw here changes nothing there. */
export function randomOf(seed: number, purpose: string): Random {
	let hash = seed | 0;
	// FNV-1a over the purpose's characters, then MurmurHash3's finaliser: names that are alike have seeds that are not.
	for (const char of purpose) hash = Math.imul(hash ^ char.charCodeAt(0), 0x0100_0193);
	hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
	hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
	const generator = xoroshiro128plus(hash ^ (hash >>> 16));
	// Its first numbers are the seed in other clothes.
	for (let i = 0; i < WARM_UP; i++) generator.next();
	return () => uniformFloat64(generator);
}

/** One of them, by their weights. */
export function weighted<T extends { weight: number }>(random: Random, of: readonly T[]): T {
	let left = random() * of.reduce((sum, { weight }) => sum + weight, 0);
	return of.find(({ weight }) => (left -= weight) < 0) ?? of[of.length - 1];
}

export const one = <T>(random: Random, of: readonly T[]): T => of[Math.floor(random() * of.length)];
