/** The official configuration fields of a HART checkpoint, read into this project's names. */
import { z } from "zod";
import { roundHalfEven } from "../../../kernels/attention/rope.ts";
import { codebookFromReference, Flag, type Refused, readFields, requireComputed } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { HartConfig } from "./config.ts";

/** Left out, fields are what HART's own code takes them for. */
const Transformer = z.looseObject({
	depth: Count.default(16),
	embed_dim: Count.default(1024),
	num_heads: Count.default(16),
	mlp_ratio: z.number().gt(0).default(4),
	context_token: Count.default(77),
	context_dim: Count.default(768),
	patch_nums: z.array(Count).min(2),
	attn_l2_norm: Flag.default(false),
	norm_eps: z.number().gt(0).default(1e-6),
	mlp_type: z.enum(["gpt2", "llama"]).default("gpt2"),
	disable_aln: Flag.default(false),
	shared_aln: Flag.default(false),
	sep_aln_pooling_mode: z.enum(["max", "avg"]).default("max"),
	use_timestep_embed: Flag.default(false),
	use_context_norm: Flag.default(false),
	diff_width: Count.default(1024),
	diff_depth: Count.default(6),
	num_sampling_steps: z.coerce
		.number("num_sampling_steps is a number of steps; ddim and lists of counts are not read")
		.pipe(z.int().min(2).max(1000))
		.default(8),
});

const REFUSED: Refused = {
	attn_type: {
		value: "llama",
		absent: "gpt2",
		why: "the official class fails with gpt2, whose attention lacks the argument m_maskgit that every block gives it",
	},
	use_cross_attn: {
		value: false,
		why: "the official cross attention mixes the two guidance rows, and skips as many tokens as the text has",
	},
	sampler: { value: "iddpm", why: "the official class has no other" },
};

export function hartConfigFromReference(config: unknown, vaeConfig: unknown): HartConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	requireComputed(c, REFUSED);
	const gelu = c.mlp_type === "gpt2";
	const modulation = modulationOf(c);
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn: gelu ? roundHalfEven(c.embed_dim * c.mlp_ratio) : swigluWidth(c.embed_dim, c.mlp_ratio),
		textChannels: c.context_dim,
		textMaxTokens: c.context_token,
		normEps: c.norm_eps,
		...(!c.use_context_norm && { contextNorm: false }),
		...(modulation !== "table" && { modulation }),
		...(gelu && { feedForward: "gelu" as const }),
		...(!c.use_timestep_embed && { levels: "table" as const, scales: c.patch_nums.length }),
		normalised: c.attn_l2_norm,
		ropeTheta: 10_000,
		residual: { width: c.diff_width, depth: c.diff_depth, steps: c.num_sampling_steps },
		...codebookFromReference(vaeConfig, c.patch_nums.length),
		textEncoder: null,
		instructions: "",
	};
}

/** shared_aln and the pooling mode say something only where disable_aln does or does not. */
function modulationOf({
	disable_aln,
	shared_aln,
	sep_aln_pooling_mode,
}: Pick<z.infer<typeof Transformer>, "disable_aln" | "shared_aln" | "sep_aln_pooling_mode">) {
	if (!disable_aln) return sep_aln_pooling_mode === "avg" ? "map-mean" : "map-max";
	return shared_aln ? "table" : "none";
}

/** Two thirds of the usual width, since there are three matrices in place of two, up to a multiple of 256. */
const swigluWidth = (width: number, ratio: number): number => Math.floor(((width * ratio * 2) / 3 + 255) / 256) * 256;
