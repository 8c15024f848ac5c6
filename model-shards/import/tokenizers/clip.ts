/**
 * CLIP's byte-level BPE (arXiv 2103.00020) from `vocab.json` and `merges.txt`, as its published `tokenizer.json` has
 * it.
 */
import { z } from "zod";
import { ModelFormatError } from "../../format/errors.ts";
import { formed, parseJson } from "../../format/json.ts";

const START = "<|startoftext|>";
const END = "<|endoftext|>";
/** Contractions, words, single digits, runs of everything else. */
const WORDS = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

/** `where` names the files in errors. */
export function clipTokenizer(merges: string, vocabulary: string, where: string): object {
	const vocab = parseVocabulary(vocabulary, where);
	const pairs = merges
		.split("\n")
		.map((line) => line.trimEnd())
		.filter((line) => line !== "" && !line.startsWith("#version"));
	const odd = pairs.find((pair) => pair.split(" ").length !== 2);
	if (odd !== undefined) throw new ModelFormatError(`${where}: "${odd.slice(0, 80)}" is not two symbols to merge.`);
	const [start, end] = [START, END].map((marker) => vocab[marker]);
	if (start === undefined || end === undefined)
		throw new ModelFormatError(`vocab.json beside ${where} has no ${START} or ${END}, so it is not CLIP's.`);
	const marker = (id: number, content: string) => ({
		id,
		content,
		single_word: false,
		lstrip: false,
		rstrip: false,
		normalized: content === START,
		special: true,
	});
	return {
		version: "1.0",
		truncation: null,
		padding: null,
		added_tokens: [marker(start, START), marker(end, END)],
		normalizer: {
			type: "Sequence",
			normalizers: [
				{ type: "NFC" },
				{ type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
				{ type: "Lowercase" },
			],
		},
		pre_tokenizer: {
			type: "Sequence",
			pretokenizers: [
				{ type: "Split", pattern: { Regex: WORDS }, behavior: "Removed", invert: true },
				{ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
			],
		},
		post_processor: {
			type: "RobertaProcessing",
			sep: [END, end],
			cls: [START, start],
			trim_offsets: false,
			add_prefix_space: false,
		},
		decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
		model: {
			type: "BPE",
			dropout: null,
			unk_token: END,
			continuing_subword_prefix: "",
			end_of_word_suffix: "</w>",
			fuse_unk: false,
			vocab,
			merges: pairs,
		},
	};
}

function parseVocabulary(text: string, where: string): Record<string, number> {
	const name = `vocab.json beside ${where}`;
	return formed(Vocabulary, parseJson(text, name), `${name} does not give every token a number`);
}
const Vocabulary = z.record(z.string(), z.int().min(0));
