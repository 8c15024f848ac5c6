/** The official configuration fields of a HART checkpoint, read into this project's names. */
import { z } from "zod";
import { codebookFromReference, readFields, requireSupported, type Variants } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { HartConfig } from "./config.ts";

const Transformer = z.looseObject({
	depth: Count,
	embed_dim: Count,
	num_heads: Count,
	mlp_ratio: z.number().gt(0),
	context_token: Count,
	context_dim: Count,
	attn_l2_norm: z.boolean(),
	norm_eps: z.number().gt(0).default(1e-6),
	diff_width: Count,
	diff_depth: Count,
	num_sampling_steps: z.coerce.number().pipe(Count),
});

/** Left out, flags are what HART's own code takes them for. */
const SUPPORTED: Variants = {
	attn_type: { value: "llama", absent: "gpt2" },
	mlp_type: { value: "llama", absent: "gpt2" },
	disable_aln: { value: true, absent: false },
	shared_aln: { value: true, absent: false },
	use_timestep_embed: { value: true, absent: false },
	use_context_norm: { value: true, absent: false },
	use_cross_attn: { value: false, absent: false },
};

export function hartConfigFromReference(config: unknown, vaeConfig: unknown): HartConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	requireSupported(c, SUPPORTED);
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn: swigluWidth(c.embed_dim, c.mlp_ratio),
		textChannels: c.context_dim,
		textMaxTokens: c.context_token,
		normEps: c.norm_eps,
		normalised: c.attn_l2_norm,
		ropeTheta: 10_000,
		residual: { width: c.diff_width, depth: c.diff_depth, steps: c.num_sampling_steps },
		...codebookFromReference(vaeConfig),
		textEncoder: null,
		instructions: "",
	};
}

/** Two thirds of the usual width, since there are three matrices in place of two, up to a multiple of 256. */
const swigluWidth = (width: number, ratio: number): number => Math.floor(((width * ratio * 2) / 3 + 255) / 256) * 256;
