/**
 * SentencePiece's precompiled normalisation, as the reference implementation of tokenizer.json applies it: a
 * double-array trie over UTF-8 from what is replaced to its place among zero-terminated replacements. Graphemes of less
 * than 6 bytes are looked up whole and take the replacement of the shortest match; others, and those that are not
 * found, go character by character.
 */
export function precompiled(charsmap: string): (text: string) => string {
	const bytes = Uint8Array.from(atob(charsmap), (char) => char.charCodeAt(0));
	const view = new DataView(bytes.buffer);
	const end = bytes.length < 4 ? 0 : 4 + view.getUint32(0, true);
	if (end < 8 || end % 4 || end > bytes.length)
		throw new RangeError("tokenizer.json: the precompiled charsmap is cut or damaged. Import the model again.");
	const trie = Uint32Array.from({ length: end / 4 - 1 }, (_, i) => view.getUint32(4 + 4 * i, true));
	const replacements = bytes.subarray(end);
	const [encoder, decoder] = [new TextEncoder(), new TextDecoder()];
	const known = new Map<string, string | null>();

	const find = (chunk: string): string | null => {
		let at = offset(trie[0]);
		for (const byte of encoder.encode(chunk)) {
			if (byte === 0) break;
			const unit = trie[(at ^= byte)] ?? 0;
			if ((unit & 0x8000_00ff) !== byte) break;
			at ^= offset(unit);
			if ((unit >>> 8) & 1) {
				const start = trie[at] & 0x7fff_ffff;
				return decoder.decode(replacements.subarray(start, replacements.indexOf(0, start)));
			}
		}
		return null;
	};
	const lookUp = (chunk: string): string | null => {
		let found = known.get(chunk);
		if (found === undefined) {
			if (known.size >= MOST_KNOWN) known.clear();
			known.set(chunk, (found = find(chunk)));
		}
		return found;
	};
	return (text) => {
		let out = "";
		for (const { segment } of graphemes.segment(text)) {
			const whole = encoder.encode(segment).length < 6 ? lookUp(segment) : null;
			if (whole !== null) out += whole;
			else for (const char of segment) out += lookUp(char) ?? char;
		}
		return out;
	};
}

const MOST_KNOWN = 1 << 14;
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
/** Of a unit of the trie (darts-clone): where its children begin. */
const offset = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
