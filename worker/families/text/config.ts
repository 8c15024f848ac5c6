/**
 * Shapes of text encoders: what the engine needs beside their tensors. Every one is a pre-norm transformer over token
 * embeddings.
 */
import { z } from "zod";
import { Count, Layers } from "../shared/schema.ts";

const Id = z.int().min(0);
const shape = {
	width: Count,
	heads: Count,
	layers: Layers,
	ffn: Count,
	vocabulary: Count,
	/** Of a prompt, markers included. */
	maxTokens: Count,
	normEps: z.number().gt(0),
};

/** Word embeddings, learned positions, final norm: the default model's stand-in for T5. */
export const WordTransformerConfig = z.strictObject({
	kind: z.literal("word-transformer"),
	...shape,
	padId: Id,
	unknownId: Id,
	endId: Id,
});
export type WordTransformerConfig = z.infer<typeof WordTransformerConfig>;

/**
 * The encoder of T5 v1.1 and Flan-T5 (arXiv 1910.10683, 2210.11416): RMS norms, relative positions as a bias of the
 * scores, gated GELU, no biases.
 */
export const T5Config = z.strictObject({
	kind: z.literal("t5"),
	...shape,
	headDim: Count,
	/** Of relative positions, half of them backwards; the last ones reach `distance` and beyond. */
	buckets: z
		.int()
		.min(4)
		.max(1 << 12)
		.multipleOf(4),
	distance: Count,
});
export type T5Config = z.infer<typeof T5Config>;

/**
 * The text transformer of CLIP (arXiv 2103.00020): causal, learned positions; the token at the end of the text stands
 * for all of it.
 */
export const ClipTextConfig = z.strictObject({
	kind: z.literal("clip-text"),
	...shape,
	activation: z.enum(["quick-gelu", "gelu"]),
	/** Markers around a text; an empty one is these two. */
	startId: Id,
	endId: Id,
});
export type ClipTextConfig = z.infer<typeof ClipTextConfig>;

/** The decoder-only text model Qwen2 (arXiv 2407.10671): RMS norms, rotary positions, grouped queries, SwiGLU. */
export const Qwen2Config = z.strictObject({
	kind: z.literal("qwen2"),
	...shape,
	kvHeads: Count,
	ropeTheta: z.number().gt(1),
	/** What texts are padded with, and where, by models that read the states of the padding. No token sees it. */
	padId: Id,
	padSide: z.enum(["left", "right"]),
});
export type Qwen2Config = z.infer<typeof Qwen2Config>;

export const TextEncoderConfig = z.discriminatedUnion("kind", [
	WordTransformerConfig,
	T5Config,
	ClipTextConfig,
	Qwen2Config,
]);
export type TextEncoderConfig = z.infer<typeof TextEncoderConfig>;

/** What of an encoder contradicts itself or the model whose text features have `channels`. */
export function textEncoderProblems(config: TextEncoderConfig, channels: number): string[] {
	const problems: string[] = [];
	const { width, heads, ffn, vocabulary } = config;
	const headDim = config.kind === "t5" ? config.headDim : width / heads;
	// Heads are read by fours, and rotary positions turn the halves of one.
	const unit = config.kind === "qwen2" ? 8 : 4;
	if (width !== channels) problems.push(`text encoder width ${width} is not textChannels ${channels}`);
	if (!Number.isInteger(headDim)) problems.push(`text encoder width ${width} is not a multiple of its ${heads} heads`);
	else if (headDim % unit !== 0) problems.push(`text encoder head size ${headDim} is not a multiple of ${unit}`);
	if (ffn % 4 !== 0) problems.push(`text encoder ffn ${ffn} is not a multiple of 4`);
	if (config.kind === "qwen2" && heads % config.kvHeads !== 0)
		problems.push(`${heads} heads of the text encoder do not share ${config.kvHeads} heads of keys evenly`);
	for (const id of ["padId", "unknownId", "startId", "endId"]) {
		const value = Object.entries(config).find(([key]) => key === id)?.[1];
		if (typeof value === "number" && value >= vocabulary)
			problems.push(`text encoder ${id} ${value} is outside its vocabulary of ${vocabulary}`);
	}
	return problems;
}

/** Encoders that published models take, by where they are published. */
export const PUBLISHED_TEXT = {
	/** Of Infinity. */
	"google/flan-t5-xl": {
		kind: "t5",
		width: 2048,
		heads: 32,
		headDim: 64,
		layers: 24,
		ffn: 5120,
		vocabulary: 32128,
		maxTokens: 512,
		buckets: 32,
		distance: 128,
		normEps: 1e-6,
	},
	/** Of STAR: OpenCLIP's ViT-H/14 without its last layer, as in `text_encoder/`. */
	"stabilityai/stable-diffusion-2-1": {
		kind: "clip-text",
		width: 1024,
		heads: 16,
		layers: 23,
		ffn: 4096,
		vocabulary: 49408,
		maxTokens: 77,
		activation: "gelu",
		startId: 49406,
		endId: 49407,
		normEps: 1e-5,
	},
	"openai/clip-vit-large-patch14": {
		kind: "clip-text",
		width: 768,
		heads: 12,
		layers: 12,
		ffn: 3072,
		vocabulary: 49408,
		maxTokens: 77,
		activation: "quick-gelu",
		startId: 49406,
		endId: 49407,
		normEps: 1e-5,
	},
	/**
	 * Of HART (`mit-han-lab/Qwen2-VL-1.5B-Instruct`): the text model of Qwen2-VL-2B. The side of the padding is in its
	 * tokenizer's configuration.
	 */
	"Qwen/Qwen2-VL-2B-Instruct": {
		kind: "qwen2",
		width: 1536,
		heads: 12,
		kvHeads: 2,
		layers: 28,
		ffn: 8960,
		vocabulary: 151936,
		maxTokens: 512,
		ropeTheta: 1e6,
		padId: 151643,
		padSide: "right",
		normEps: 1e-6,
	},
} as const satisfies Record<string, TextEncoderConfig>;
