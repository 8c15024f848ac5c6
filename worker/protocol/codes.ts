/** Sampled bits: u32 words by token on the device, tightly packed bytes on the wire and in logs. */

/** words [tokens, ceil(bits / 32)] -> bytes, eight bits each, token-major, bit 0 first, least significant bit first. */
export function packCodes(words: Uint32Array, tokens: number, bits: number): Uint8Array<ArrayBuffer> {
	const bytes = new Uint8Array(packedLength(tokens, bits));
	const stride = codeWords(bits);
	for (let token = 0; token < tokens; token++) {
		for (let b = 0; b < bits; b++) {
			const at = token * bits + b;
			bytes[at >> 3] |= ((words[token * stride + (b >> 5)] >>> (b & 31)) & 1) << (at & 7);
		}
	}
	return bytes;
}

/** The reverse of `packCodes`. Throws RangeError when the length does not fit the grid. */
export function unpackCodes(bytes: Uint8Array, tokens: number, bits: number): Uint32Array<ArrayBuffer> {
	const length = packedLength(tokens, bits);
	if (bytes.length !== length) {
		throw new RangeError(
			`Codes of ${tokens} tokens with ${bits} bits take ${length} bytes, got ${bytes.length}. ` +
				"They belong to another model or scale.",
		);
	}
	const stride = codeWords(bits);
	const words = new Uint32Array(tokens * stride);
	for (let token = 0; token < tokens; token++) {
		for (let b = 0; b < bits; b++) {
			const at = token * bits + b;
			words[token * stride + (b >> 5)] |= ((bytes[at >> 3] >> (at & 7)) & 1) << (b & 31);
		}
	}
	return words;
}

/** Bits as 0 and 1, [tokens, bits]. */
export function codeBits(bytes: Uint8Array, tokens: number, bits: number): Int32Array<ArrayBuffer> {
	return Int32Array.from({ length: tokens * bits }, (_, at) => (bytes[at >> 3] >> (at & 7)) & 1);
}

/** The reverse of `codeBits`. */
export function packBits(bits: ArrayLike<number>): Uint8Array<ArrayBuffer> {
	const bytes = new Uint8Array(Math.ceil(bits.length / 8));
	for (let at = 0; at < bits.length; at++) bytes[at >> 3] |= bits[at] << (at & 7);
	return bytes;
}

/** u32 words that a token's codes take on the device. */
export const codeWords = (bits: number): number => Math.ceil(bits / 32);
/** Bytes of packed codes. */
const packedLength = (tokens: number, bits: number): number => Math.ceil((tokens * bits) / 8);

/**
 * Throws RangeError for codes of another model or scale, before they can spoil a round that others share. `choices`,
 * `alternatives`: of a token; where it is one of a vocabulary, its bits may name more than there are.
 */
export function checkCodes(
	codes: readonly Uint8Array[] | undefined,
	grids: readonly (readonly [number, number])[],
	{ bits, choices, alternatives }: { bits: number; choices: number; alternatives: number },
): void {
	if (codes && codes.length > grids.length)
		throw new RangeError(
			`Codes of ${codes.length} scales were given; the schedule has ${grids.length}. ` +
				"They belong to another model or schedule.",
		);
	for (const [scale, bytes] of (codes ?? []).entries()) {
		const tokens = grids[scale][0] * grids[scale][1];
		const expected = packedLength(tokens, bits);
		if (bytes.length !== expected)
			throw new RangeError(
				`The codes of scale ${scale} take ${expected} bytes, got ${bytes.length}. ` +
					"They belong to another model or schedule.",
			);
		if (choices > 1 || alternatives === 2 ** bits) continue;
		const wrong = unpackCodes(bytes, tokens, bits).find((code) => code >= alternatives);
		if (wrong !== undefined)
			throw new RangeError(
				`The codes of scale ${scale} name ${wrong}; this model's are from 0 to ${alternatives - 1}. ` +
					"They belong to another model.",
			);
	}
}
