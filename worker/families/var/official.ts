/** The official configuration fields of a VAR checkpoint, read into this project's names. */
import { z } from "zod";
import { codebookFromReference, readFields } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { VarConfig } from "./config.ts";

const Transformer = z.looseObject({
	num_classes: Count,
	depth: Count,
	embed_dim: Count,
	num_heads: Count,
	mlp_ratio: z.number().gt(0),
	shared_aln: z.boolean(),
	attn_l2_norm: z.boolean(),
	patch_nums: z.array(Count).min(1),
});

export function varConfigFromReference(config: unknown, vaeConfig: unknown): VarConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn: Math.round(c.embed_dim * c.mlp_ratio),
		classes: c.num_classes,
		adaln: c.shared_aln ? "shared" : "block",
		normalised: c.attn_l2_norm,
		normEps: 1e-6,
		scales: c.patch_nums.length,
		tokens: c.patch_nums.reduce((sum, side) => sum + side ** 2, 0),
		...codebookFromReference(vaeConfig),
	};
}
