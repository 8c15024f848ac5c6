/** Reading the official code's configurations: what several families' have in common. */
import { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/errors.ts";
import { formed } from "../../../model-shards/format/json.ts";
import type { CodebookConfig } from "./codebook.ts";
import { Count } from "./schema.ts";
import type { VaeConfig } from "./vae.ts";

/** Official fields of the transformer or of the tokenizer. */
export const readFields = <T extends z.ZodType>(schema: T, value: unknown, what: string): z.infer<T> =>
	formed(schema, value, `The ${what} cannot be read`);

/**
 * Variants of a family: the one that the engine computes, by flag, and what the official code takes a flag for that is
 * left out; where `absent` is, it is the supported one. Throws ModelFormatError for the others.
 */
export type Variants = Readonly<Record<string, { value: unknown; absent?: unknown }>>;

export function requireSupported(config: Readonly<Record<string, unknown>>, variants: Variants): void {
	for (const [flag, { value, absent = value }] of Object.entries(variants)) {
		const given = config[flag] ?? absent;
		// Some files write 1 for true.
		if (given !== value && !(typeof value === "number" && Number(given) === value))
			throw new ModelFormatError(`${flag} = ${given} is not supported; the engine computes ${flag} = ${value}.`);
	}
}

/** Multipliers of the decoder's levels: its own, else those of the whole tokenizer. */
export function multipliersOf(own: number[] | undefined, all: number[] | undefined, names: string): number[] {
	const multipliers = own ?? all;
	if (!multipliers) throw new ModelFormatError(`The tokenizer configuration has neither ${names}.`);
	return multipliers;
}

const Vae = z.looseObject({
	V: Count,
	Cvae: Count,
	ch: Count,
	dec_ch_mult: z.array(Count).min(1).optional(),
	ch_mult: z.array(Count).min(1).optional(),
	num_res_blocks: Count,
	share_quant_resi: Count,
});

/** Of the picture tokenizer that VAR and its descendants share. */
export function codebookFromReference(vaeConfig: unknown): { codebook: CodebookConfig; vae: VaeConfig } {
	const v = readFields(Vae, vaeConfig, "tokenizer configuration");
	const multipliers = multipliersOf(v.dec_ch_mult, v.ch_mult, "dec_ch_mult nor ch_mult");
	return {
		codebook: { vocabulary: v.V, channels: v.Cvae, phis: v.share_quant_resi },
		vae: { baseChannels: v.ch, multipliers, residualBlocks: v.num_res_blocks, normGroups: 32, normEps: 1e-6 },
	};
}
