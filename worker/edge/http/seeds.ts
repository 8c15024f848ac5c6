/** Seeds of a request: random when none is given, and those of its sibling pictures. */

export function randomSeed(): number {
	return crypto.getRandomValues(new Uint32Array(1))[0];
}

/**
 * Seed of the i-th picture of a request: its own seed first, then the murmur3 finalizer of seed + i * 0x9e3779b9 (mod
 * 2^32).
 */
export function siblingSeed(seed: number, i: number): number {
	if (i === 0) return seed;
	let h = (seed + Math.imul(i, 0x9e3779b9)) >>> 0;
	h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
	h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
	return (h ^ (h >>> 16)) >>> 0;
}
