import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { plain } from "../../../model-shards/format/tensor-shapes.ts";
import { importPublished } from "../../../model-shards/import/published.ts";
import { nowhere } from "../../../model-shards/import/sink.ts";
import { syntheticSource } from "../../../model-shards/import/synthetic.ts";
import { openTextEncoder, textEncoderIn } from "../../../model-shards/import/text-encoder.ts";
import { findModel } from "../../../model-shards/open.ts";
import { SMALL, SMALL_HEAD, writeSafetensors } from "../../../model-shards/testing.ts";
import type { Family } from "../family.ts";
import type { InfinityConfig } from "../infinity/config.ts";
import { infinity } from "../infinity/index.ts";
import { PUBLISHED_TEXT, type TextEncoderConfig, textEncoderProblems } from "./config.ts";
import { textEncoderFromReference } from "./official.ts";
import { textTensors, UNUSED_TEXT } from "./tensors.ts";

const T5 = {
	model_type: "t5",
	d_model: 2048,
	num_heads: 32,
	d_kv: 64,
	num_layers: 24,
	num_decoder_layers: 24,
	d_ff: 5120,
	vocab_size: 32128,
	relative_attention_num_buckets: 32,
	relative_attention_max_distance: 128,
	layer_norm_epsilon: 1e-6,
	feed_forward_proj: "gated-gelu",
};
const CLIP_H = {
	model_type: "clip_text_model",
	hidden_size: 1024,
	num_attention_heads: 16,
	num_hidden_layers: 23,
	intermediate_size: 4096,
	vocab_size: 49408,
	max_position_embeddings: 77,
	layer_norm_eps: 1e-5,
	hidden_act: "gelu",
	projection_dim: 512,
	bos_token_id: 0,
	eos_token_id: 2,
	pad_token_id: 1,
};
const CLIP_L = {
	model_type: "clip",
	projection_dim: 768,
	text_config: { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12, projection_dim: 768 },
	vision_config: { hidden_size: 1024 },
};
const QWEN2 = {
	model_type: "qwen2_vl",
	hidden_size: 1536,
	num_attention_heads: 12,
	num_key_value_heads: 2,
	num_hidden_layers: 28,
	intermediate_size: 8960,
	vocab_size: 151936,
	rope_theta: 1000000.0,
	rms_norm_eps: 1e-6,
	hidden_act: "silu",
	use_sliding_window: false,
};

const PADDING = {
	pad_token: "<|endoftext|>",
	added_tokens_decoder: { 151643: { content: "<|endoftext|>" }, 151644: { content: "<|im_start|>" } },
};

describe("published configurations", () => {
	it.each([
		["google/flan-t5-xl", T5, 1_223_527_424],
		["stabilityai/stable-diffusion-2-1", CLIP_H, 340_387_840],
		["openai/clip-vit-large-patch14", CLIP_L, 123_060_480],
		["Qwen/Qwen2-VL-2B-Instruct", QWEN2, 1_543_714_304],
	] as const)("of %s give its shapes, with as many parameters as it has", (name, json, parameters) => {
		const config = textEncoderFromReference(json, "config.json", PADDING);
		expect(config).toEqual(PUBLISHED_TEXT[name]);
		expect(textEncoderProblems(config, config.width)).toEqual([]);
		const tensors = textTensors(config);
		expect(tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)).toBe(parameters);
		expect(tensors.filter(({ name }) => UNUSED_TEXT.test(name))).toEqual([]);
	});

	it("with markers of their own keep them", () => {
		expect(
			textEncoderFromReference({ ...CLIP_H, bos_token_id: 49406, eos_token_id: 49407 }, "config.json"),
		).toMatchObject({ startId: 49406, endId: 49407 });
	});

	it.each([
		[{}, /model_type is missing, known are t5, clip_text_model/],
		[{ model_type: "bert" }, /model_type is bert/],
		[{ model_type: "constructor" }, /model_type is constructor/],
		[{ ...T5, feed_forward_proj: "relu" }, /only T5 v1\.1/],
		[{ ...T5, d_model: -1 }, /d_model/],
		[{ ...CLIP_H, hidden_act: "relu" }, /hidden_act/],
		[{ ...QWEN2, use_sliding_window: true }, /use_sliding_window/],
	])("that the engine does not compute are refused: %o", (json, message) => {
		expect(() => textEncoderFromReference(json, "config.json")).toThrow(message);
	});

	it("of a model that pads need to be told how", () => {
		expect(
			textEncoderFromReference(QWEN2, "config.json", {
				...PADDING,
				padding_side: "left",
				pad_token: { content: "<|im_start|>" },
			}),
		).toMatchObject({ padId: 151644, padSide: "left" });
		expect(() => textEncoderFromReference(QWEN2, "config.json")).toThrow(
			/tokenizer_config\.json beside config\.json does not say how texts are padded/,
		);
		expect(() => textEncoderFromReference(QWEN2, "config.json", { ...PADDING, pad_token: "<pad>" })).toThrow(
			/pad_token <pad> is not among/,
		);
	});

	it("that contradict themselves or the picture model are told", () => {
		const t5: TextEncoderConfig = PUBLISHED_TEXT["google/flan-t5-xl"];
		expect(textEncoderProblems(t5, 1024)).toEqual(["text encoder width 2048 is not textChannels 1024"]);
		const clip: TextEncoderConfig = { ...PUBLISHED_TEXT["openai/clip-vit-large-patch14"], heads: 7, endId: 49408 };
		expect(textEncoderProblems(clip, 768)).toHaveLength(2);
		expect(textEncoderProblems({ ...PUBLISHED_TEXT["Qwen/Qwen2-VL-2B-Instruct"], kvHeads: 5 }, 1536)).toHaveLength(1);
	});
});

/** Infinity of one size that has, beside its text encoder, hardly a tensor. */
const bare = (config: InfinityConfig): Family<InfinityConfig> => ({
	...infinity,
	tensors: ({ textEncoder }) => [
		...(textEncoder ? textTensors(textEncoder) : []),
		plain("transformer.a", 1),
		plain("vae.b", 1),
	],
	published: {
		sizes: ["small"],
		describe: () => ({
			head: { ...SMALL_HEAD, config },
		}),
	},
});
const SOURCES = ["a", "b"].map((name) => syntheticSource(`the file of ${name}`, [{ name, shape: [1] }], "F32"));

it.each(["stabilityai/stable-diffusion-2-1", "openai/clip-vit-large-patch14"] as const)(
	"an import over the full list of %s",
	async (name) => {
		const config: TextEncoderConfig = PUBLISHED_TEXT[name];
		const names = textTensors(config).map(({ name, shape }) => ({ name: name.slice("text_encoder.".length), shape }));
		const textEncoder = textEncoderIn(
			syntheticSource(
				"model.safetensors",
				[...names, { name: "text_model.embeddings.position_ids", shape: [1, 77] }],
				"BF16",
			),
			config,
		);
		const family = bare({ ...SMALL, textChannels: config.width });
		const manifest = await importPublished(family, "small", SOURCES, {
			textEncoder,
			tokenizer: null,
			dtype: "f16",
			out: nowhere,
		});
		expect(manifest.tensors).toHaveLength(names.length + 2);
		expect(manifest.config).toMatchObject({ textEncoder: config });
		expect(manifest.shards.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(
			2 * names.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
		);
	},
);

describe("a folder of a text encoder", () => {
	let dir: string;
	const shapes = (config: TextEncoderConfig) =>
		Object.fromEntries(
			textTensors(config).map(({ name, shape }) => [
				name.slice("text_encoder.".length),
				{ dtype: "F32", shape, bytes: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)) },
			]),
		);
	const small = {
		...CLIP_H,
		hidden_size: 128,
		num_attention_heads: 2,
		num_hidden_layers: 1,
		intermediate_size: 16,
		vocab_size: 8,
		max_position_embeddings: 5,
	};
	const tensors = shapes(textEncoderFromReference(small, "config.json"));
	beforeAll(async () => {
		// As a diffusion pipeline is published: a folder for each part, with checkpoints of two precisions.
		dir = await mkdtemp(join(tmpdir(), "encoder-"));
		await mkdir(join(dir, "text_encoder"));
		await mkdir(join(dir, "tokenizer"));
		await writeFile(join(dir, "text_encoder", "config.json"), JSON.stringify(small));
		await writeSafetensors(join(dir, "text_encoder", "model.safetensors"), tensors);
		await writeSafetensors(join(dir, "text_encoder", "model.fp16.safetensors"), {
			other: { dtype: "F16", shape: [1], bytes: new Uint8Array(2) },
		});
		for (const file of ["merges.txt", "vocab.json"]) await writeFile(join(dir, "tokenizer", file), "");
	});
	afterAll(() => rm(dir, { recursive: true }));

	it("gives its tensors, and the tokenizer beside it", async () => {
		await using encoder = await openTextEncoder(join(dir, "text_encoder"));
		expect([...encoder.found.keys()].sort()).toEqual(encoder.wanted.map(({ name }) => name).sort());
		expect(encoder.tokenizer).toBe(join(dir, "tokenizer", "merges.txt"));
		await using named = await openTextEncoder(join(dir, "text_encoder", "model.fp16.safetensors"));
		expect([...named.found.keys()]).toEqual(["text_encoder.other"]);
	});

	it("without a configuration is refused", async () => {
		await expect(openTextEncoder(join(dir, "tokenizer"))).rejects.toThrow(/config\.json cannot be read/);
	});

	it("goes into a model that fits it, and into no other", async () => {
		const words = JSON.parse(await readFile(join(findModel("tiny"), "tokenizer.json"), "utf8"));
		words.model.vocab = Object.fromEntries(Object.entries(words.model.vocab).filter(([, id]) => Number(id) < 8));
		const tokenizer = join(dir, "words.json");
		await writeFile(tokenizer, JSON.stringify(words));
		const write = (family: Family) =>
			importPublished(family, "small", SOURCES, {
				textEncoder: join(dir, "text_encoder"),
				tokenizer,
				out: join(dir, "out"),
			});
		const manifest = await write(bare(SMALL));
		expect(manifest.config).toMatchObject({ textEncoder: { kind: "clip-text", width: 128 } });
		expect(manifest.tensors.map(({ name }) => name)).toContain("text_encoder.text_model.final_layer_norm.bias");
		await expect(write(bare({ ...SMALL, textChannels: 64 }))).rejects.toThrow(
			/does not fit small: text encoder width 128 is not textChannels 64/,
		);
		await expect(write({ ...bare(SMALL), withText: undefined })).rejects.toThrow(/takes no text encoder/);
	});

	it("that lacks a tensor, or has one of another shape, is refused by name", async () => {
		const { "text_model.final_layer_norm.bias": _, ...rest } = tensors;
		const odd = {
			...rest,
			"text_model.embeddings.position_embedding.weight": {
				dtype: "F32",
				shape: [6, 128],
				bytes: new Uint8Array(4 * 6 * 128),
			},
		};
		await writeSafetensors(join(dir, "text_encoder", "odd.safetensors"), odd);
		const importing = importPublished(bare(SMALL), "small", SOURCES, {
			textEncoder: join(dir, "text_encoder", "odd.safetensors"),
			out: join(dir, "never"),
		});
		await expect(importing).rejects.toThrow(
			RegExp(
				String.raw`position_embedding\.weight has shape \[6,128\], the configuration asks for \[5,128\]` +
					String.raw`[\s\S]*final_layer_norm\.bias is missing`,
			),
		);
	});
});
