/**
 * The published STAR checkpoints (Davinci-XLab/STAR-T2I, taocrayon/STAR), as data: the names of its model table,
 * `star_rope_d30_256-*.pth` and so on. All read the states of Stable Diffusion 2.1's text encoder and share VAR's
 * picture tokenizer.
 */

import type { z } from "zod";
import { linear, matrix, plain, precise, type TensorShape, table } from "../../../model-shards/format/tensor-shapes.ts";
import type { Sampling } from "../../protocol/model-info.ts";
import type { Described, Published } from "../checkpoints.ts";
import { publishedSize, SIDES, square, TOKENIZER } from "../shared/published.ts";
import { either, headScales, qkvBiases } from "../shared/tensors.ts";
import type { StarConfig } from "./config.ts";

interface Size {
	depth: number;
	side: keyof typeof SIDES;
	/**
	 * Comes with the network of its "causal-driven stable sampling", by which the official code may draw the last scales
	 * in steps.
	 */
	sampler?: true;
}

const SIZES: Readonly<Record<string, Size>> = {
	"256-d16": { depth: 16, side: 256 },
	"256": { depth: 30, side: 256 },
	"512": { depth: 30, side: 512 },
	"1024": { depth: 30, side: 1024 },
	"1024-sampler": { depth: 30, side: 1024, sampler: true },
};

/** The official demo's; its sampler's steps left out. */
const SAMPLING: z.infer<typeof Sampling> = { guidance: [1, 5], tau: 1, topK: 600, topP: 0.8 };

const SAMPLER_BLOCKS = 3;
const SAMPLER = either(
	/^transformer\.(pos_start_last$|(lvl_embed_2|word_embed_head|encoder_proj2)\.)/,
	/^transformer\.(head_proj|head_logits2|feat_extract_blocks)\./,
);

/** Throws ModelFormatError for a size that was not published. */
export function publishedStar(size: string): Described<StarConfig> {
	const { depth, side } = publishedSize("STAR", SIZES, size);
	const config: StarConfig = {
		depth,
		width: 64 * depth,
		heads: depth,
		ffn: 256 * depth,
		textChannels: 1024,
		textMaxTokens: 77,
		normEps: 1e-6,
		scales: SIDES[side].length,
		ropeReach: 64,
		ropeTheta: 10_000,
		...TOKENIZER,
		textEncoder: null,
	};
	return {
		name: `star-${size.toLowerCase()}`,
		family: "star",
		config,
		schedules: square(side),
		defaultSchedule: "1:1",
		sampling: SAMPLING,
		licence: "MIT (Davinci-XLab/STAR-T2I)",
	};
}

export const published: Published<StarConfig> = {
	sizes: Object.keys(SIZES),
	describe(size) {
		const { sampler } = publishedSize("STAR", SIZES, size);
		const head = publishedStar(size);
		return {
			head,
			unread: [
				table("transformer.class_emb", 1001, head.config.width),
				...(sampler ? samplerTensors(head.config) : []),
			],
			...(sampler && { unused: SAMPLER }),
		};
	},
};

/**
 * Blocks without cross attention over the states of the transformer and the codes drawn so far, and a head of their
 * own.
 */
function samplerTensors({ width, heads, ffn, textChannels, scales, codebook }: StarConfig): TensorShape[] {
	const t = (name: string) => `transformer.${name}`;
	return [
		plain(t("pos_start_last"), 1, 1, width),
		table(t("lvl_embed_2"), scales, width),
		...precise(t("word_embed_head"), codebook.channels, width),
		...linear(t("encoder_proj2"), textChannels, width),
		...linear(t("head_proj"), 2 * width, width),
		...Array.from({ length: SAMPLER_BLOCKS }, (_, block): TensorShape[] => {
			const b = (name: string) => t(`feat_extract_blocks.${block}.${name}`);
			return [
				headScales(b("attn"), heads),
				...qkvBiases(b("attn"), width),
				matrix(b("attn.mat_qkv"), width, 3 * width),
				...linear(b("attn.proj"), width, width),
				...linear(b("ffn.fc1"), width, ffn),
				...linear(b("ffn.fc2"), ffn, width),
			];
		}).flat(),
		...precise(t("head_logits2"), width, codebook.vocabulary),
	];
}
