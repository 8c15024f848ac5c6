/** The official configuration fields of a VAR checkpoint, read into this project's names. */
import { z } from "zod";
import { roundHalfEven } from "../../../kernels/attention/rope.ts";
import { codebookFromReference, Flag, readFields } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { VarConfig } from "./config.ts";

const Transformer = z.looseObject({
	num_classes: Count,
	depth: Count,
	embed_dim: Count,
	num_heads: Count,
	mlp_ratio: z.number().gt(0).default(4),
	norm_eps: z.number().gt(0).default(1e-6),
	shared_aln: Flag.default(false),
	attn_l2_norm: Flag.default(false),
	patch_nums: z.array(Count).min(2),
});

export function varConfigFromReference(config: unknown, vaeConfig: unknown): VarConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn: roundHalfEven(c.embed_dim * c.mlp_ratio),
		classes: c.num_classes,
		adaln: c.shared_aln ? "shared" : "block",
		normalised: c.attn_l2_norm,
		normEps: c.norm_eps,
		scales: c.patch_nums.length,
		tokens: c.patch_nums.reduce((sum, side) => sum + side ** 2, 0),
		...(c.patch_nums[0] !== 1 && { startTokens: c.patch_nums[0] ** 2 }),
		...codebookFromReference(vaeConfig, c.patch_nums.length),
	};
}
