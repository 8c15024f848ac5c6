/** The official configuration fields of a HART checkpoint, read into this project's names. */
import { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/manifest.ts";
import { parse, tokenizerFromReference } from "../var/official.ts";
import type { HartConfig } from "./config.ts";

const Count = z.int().min(1);

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

/** Variants of the family the engine does not compute. Left out, they are what HART's own code takes them for. */
const SUPPORTED: Record<string, { value: unknown; absent: unknown }> = {
	attn_type: { value: "llama", absent: "gpt2" },
	mlp_type: { value: "llama", absent: "gpt2" },
	disable_aln: { value: true, absent: false },
	shared_aln: { value: true, absent: false },
	use_timestep_embed: { value: true, absent: false },
	use_context_norm: { value: true, absent: false },
	use_cross_attn: { value: false, absent: false },
};

export function hartConfigFromReference(config: unknown, vaeConfig: unknown): HartConfig {
	const c = parse(Transformer, config, "transformer configuration");
	for (const [flag, { value, absent }] of Object.entries(SUPPORTED)) {
		const given = c[flag] ?? absent;
		if (given !== value)
			throw new ModelFormatError(`${flag} = ${given} is not supported; the engine computes ${flag} = ${value}.`);
	}
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
		...tokenizerFromReference(vaeConfig),
		textEncoder: null,
		instructions: "",
	};
}

/** Two thirds of the usual width, since there are three matrices in place of two, up to a multiple of 256. */
export const swigluWidth = (width: number, ratio: number): number =>
	Math.floor(((width * ratio * 2) / 3 + 255) / 256) * 256;
