/** The official configuration fields of a VAR checkpoint, read into this project's names. */
import { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/manifest.ts";
import type { VaeConfig } from "../infinity/config.ts";
import type { CodebookConfig, VarConfig } from "./config.ts";

const Count = z.int().min(1);

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
const Vae = z.looseObject({
	V: Count,
	Cvae: Count,
	ch: Count,
	dec_ch_mult: z.array(Count).min(1).optional(),
	ch_mult: z.array(Count).min(1).optional(),
	num_res_blocks: Count,
	share_quant_resi: Count,
});

export function varConfigFromReference(config: unknown, vaeConfig: unknown): VarConfig {
	const c = parse(Transformer, config, "transformer configuration");
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
		...tokenizerFromReference(vaeConfig),
	};
}

/** Of the picture tokenizer that VAR and its descendants share. */
export function tokenizerFromReference(vaeConfig: unknown): { codebook: CodebookConfig; vae: VaeConfig } {
	const v = parse(Vae, vaeConfig, "tokenizer configuration");
	const multipliers = v.dec_ch_mult ?? v.ch_mult;
	if (!multipliers) throw new ModelFormatError("The tokenizer configuration has neither dec_ch_mult nor ch_mult.");
	return {
		codebook: { vocabulary: v.V, channels: v.Cvae, phis: v.share_quant_resi },
		vae: { baseChannels: v.ch, multipliers, residualBlocks: v.num_res_blocks, normGroups: 32, normEps: 1e-6 },
	};
}

export function parse<T extends z.ZodType>(schema: T, value: unknown, what: string): z.infer<T> {
	const parsed = schema.safeParse(value);
	if (!parsed.success) throw new ModelFormatError(`The ${what} cannot be read:\n${z.prettifyError(parsed.error)}`);
	return parsed.data;
}
