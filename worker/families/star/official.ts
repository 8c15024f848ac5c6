/** The official configuration fields of a STAR checkpoint, read into this project's names. */
import { z } from "zod";
import { roundHalfEven } from "../../../kernels/attention/rope.ts";
import { codebookFromReference, Flag, type Refused, readFields, requireComputed } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { StarConfig } from "./config.ts";

/** A field that is left out has the published models' value. */
const Transformer = z.looseObject({
	depth: Count,
	embed_dim: Count,
	num_heads: Count,
	mlp_ratio: z.number().gt(0).default(4),
	norm_eps: z.number().gt(0).default(1e-6),
	in_dim_cross: Count,
	patch_nums: z.array(Count).min(2),
	attn_l2_norm: Flag.default(true),
	enable_cross: Flag.default(true),
	enable_logit_norm: Flag.default(true),
	rope_theta: z.number().gt(0).default(10_000),
	/** -1: positions are those of the grid. */
	rope_norm: z.union([z.literal(-1), z.number().gt(0)]).default(64),
});

const REFUSED: Refused = {
	shared_aln: {
		value: false,
		why: "it modulates blocks by the scale, which the engine's blocks, modulated by the prompt, do not know",
	},
	rotary_pos_emb: { value: true, why: "no published STAR has learned positions" },
	absolute_lvl_emb: { value: true, why: "without it the official class needs shared_aln to know a scale" },
	enable_adaptive_norm: {
		value: false,
		why:
			"its second network draws a scale in several steps; import such a one as size 1024-sampler, which leaves " +
			"that network out",
	},
	noise_sampling: { value: false, why: "its first scale begins with noise that is not recorded" },
};
/** CLIP's, whose states the published model reads. */
const TEXT_MAX_TOKENS = 77;

export function starConfigFromReference(config: unknown, vaeConfig: unknown): StarConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	requireComputed(c, REFUSED);
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn: roundHalfEven(c.embed_dim * c.mlp_ratio),
		textChannels: c.in_dim_cross,
		textMaxTokens: TEXT_MAX_TOKENS,
		normEps: c.norm_eps,
		scales: c.patch_nums.length,
		...(c.patch_nums[0] !== 1 && { startTokens: c.patch_nums[0] ** 2 }),
		ropeReach: c.rope_norm === -1 ? null : c.rope_norm,
		ropeTheta: c.rope_theta,
		...(!c.attn_l2_norm && { normalised: false }),
		...(!c.enable_cross && { crossAttention: false }),
		...(!c.enable_logit_norm && { headNorm: false }),
		...codebookFromReference(vaeConfig, c.patch_nums.length),
		textEncoder: null,
	};
}
