/** The official configuration fields of a STAR checkpoint, read into this project's names. */
import { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/manifest.ts";
import { parse, tokenizerFromReference } from "../var/official.ts";
import type { StarConfig } from "./config.ts";

const Count = z.int().min(1);

const Transformer = z.looseObject({
	depth: Count,
	embed_dim: Count,
	num_heads: Count,
	mlp_ratio: z.number().gt(0),
	in_dim_cross: Count,
	patch_nums: z.array(Count).min(1),
	rope_theta: z.number().gt(1).default(10_000),
	rope_norm: z.number().gt(0).default(64),
});

/**
 * Variants of the family the engine does not compute. An absent flag has the published model's value, which is the
 * supported one.
 */
const SUPPORTED: Record<string, boolean> = {
	shared_aln: false,
	attn_l2_norm: true,
	enable_cross: true,
	rotary_pos_emb: true,
	absolute_lvl_emb: true,
	enable_logit_norm: true,
	enable_adaptive_norm: false,
};
/** CLIP's, whose states the published model reads. */
const TEXT_MAX_TOKENS = 77;

export function starConfigFromReference(config: unknown, vaeConfig: unknown): StarConfig {
	const c = parse(Transformer, config, "transformer configuration");
	for (const [flag, value] of Object.entries(SUPPORTED)) {
		if (c[flag] !== undefined && c[flag] !== value)
			throw new ModelFormatError(`${flag} = ${c[flag]} is not supported; the engine computes ${flag} = ${value}.`);
	}
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn: Math.round(c.embed_dim * c.mlp_ratio),
		textChannels: c.in_dim_cross,
		textMaxTokens: TEXT_MAX_TOKENS,
		normEps: 1e-6,
		scales: c.patch_nums.length,
		ropeReach: c.rope_norm,
		ropeTheta: c.rope_theta,
		...tokenizerFromReference(vaeConfig),
		textEncoder: null,
	};
}
