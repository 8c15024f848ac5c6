/** Seeded choices, so that a corpus is the same on every machine. */
export class Random {
	#state: number;
	constructor(seed: number) {
		this.#state = seed;
	}
	/** A whole number from 0 to below `end`. */
	below(end: number): number {
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * end);
	}
	of<T>(list: readonly T[]): T {
		return list[this.below(list.length)];
	}
}

export interface Hostile {
	name: string;
	bytes: Uint8Array;
	/**
	 * `refused`: must be. `harmless`: may also give just the tensors of `seed`. `contained`: may give anything, within
	 * time and memory.
	 */
	expect: "refused" | "harmless" | "contained";
	/** File name of the sound file it was made from. */
	seed?: string;
}

/** Changes that need no knowledge of the format: bytes flipped, cut off, cut out and doubled. */
export function* blind(random: Random, seed: string, sound: Uint8Array, count: number): Generator<Hostile> {
	for (let i = 0; i < count; i++) {
		const at = random.below(sound.length);
		const length = 1 + random.below(Math.min(64, sound.length - at));
		const parts = [
			() => ({ what: "cut", bytes: sound.slice(0, at) }),
			() => ({ what: "without a piece", bytes: Buffer.concat([sound.slice(0, at), sound.slice(at + length)]) }),
			() => ({ what: "with a piece twice", bytes: Buffer.concat([sound.slice(0, at + length), sound.slice(at)]) }),
			() => ({ what: "flipped", bytes: flipped(random, sound, 1 + random.below(4)) }),
			() => ({
				what: "with zeros",
				bytes: sound.map((byte, index) => (index >= at && index < at + length ? 0 : byte)),
			}),
		];
		const { what, bytes } = parts[i % parts.length]();
		yield { name: `${seed} ${what} at ${at}`, bytes: new Uint8Array(bytes), expect: "harmless", seed };
	}
}

function flipped(random: Random, sound: Uint8Array, count: number): Uint8Array {
	const bytes = sound.slice();
	for (let i = 0; i < count; i++) bytes[random.below(bytes.length)] ^= 1 << random.below(8);
	return bytes;
}
