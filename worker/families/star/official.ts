/** The official configuration fields of a STAR checkpoint, read into this project's names. */
import { z } from "zod";
import { codebookFromReference, readFields, requireSupported, type Variants } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { StarConfig } from "./config.ts";

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

/** An absent flag has the published model's value. */
const SUPPORTED: Variants = {
	shared_aln: { value: false },
	attn_l2_norm: { value: true },
	enable_cross: { value: true },
	rotary_pos_emb: { value: true },
	absolute_lvl_emb: { value: true },
	enable_logit_norm: { value: true },
	enable_adaptive_norm: { value: false },
};
/** CLIP's, whose states the published model reads. */
const TEXT_MAX_TOKENS = 77;

export function starConfigFromReference(config: unknown, vaeConfig: unknown): StarConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	requireSupported(c, SUPPORTED);
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
		...codebookFromReference(vaeConfig),
		textEncoder: null,
	};
}
