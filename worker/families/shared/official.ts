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

/** A switch as official files write it: a truth value, or 0 and 1. */
export const Flag = z.union([z.boolean(), z.literal([0, 1])]).transform(Boolean);

/**
 * Arguments of an official class that the engine computes one value of, and why not the others. Where `absent` is,
 * that is what a file that leaves the argument out means; else it is the computed one.
 */
export type Refused = Readonly<Record<string, { value: unknown; absent?: unknown; why: string }>>;

/** Throws ModelFormatError, by the argument's name, for a value that is not computed. */
export function requireComputed(config: Readonly<Record<string, unknown>>, refused: Refused): void {
	for (const [name, { value, absent = value, why }] of Object.entries(refused)) {
		const given = config[name] ?? absent;
		// Some files write 1 for true.
		const same =
			typeof value === "number" || typeof value === "boolean" ? Number(given) === Number(value) : given === value;
		if (!same)
			throw new ModelFormatError(
				`${name} = ${clip(JSON.stringify(given))} is not supported, only ${name} = ${JSON.stringify(value)}: ${why}.`,
			);
	}
}

const clip = (text: string) => (text.length <= 80 ? text : `${text.slice(0, 80)}…`);

/** Multipliers of the decoder's levels: its own, else those of the whole tokenizer. */
export function multipliersOf(own: number[] | undefined, all: number[] | undefined, names: string): number[] {
	const multipliers = own ?? all;
	if (!multipliers) throw new ModelFormatError(`The tokenizer configuration has neither ${names}.`);
	return multipliers;
}

/** The tokenizer's arguments by their names in the class, or the short ones of its builder. */
const Vae = z
	.looseObject({
		ch: Count,
		dec_ch_mult: z.array(Count).min(1).optional(),
		ch_mult: z.array(Count).min(1).optional(),
		num_res_blocks: Count.default(2),
		quant_conv_ks: z.int().min(1).default(3),
		quant_resi: z.number().min(-64).max(64).default(0.5),
		share_quant_resi: z.int().min(0).max(1024).default(4),
		default_qresi_counts: z.int().min(0).max(1024).default(0),
		v_patch_nums: z.array(Count).min(1).optional(),
		patch_nums: z.array(Count).min(1).optional(),
	})
	.and(z.union([z.looseObject({ V: Count, Cvae: Count }), z.looseObject({ vocab_size: Count, z_channels: Count })]));

const REFUSED_VAE: Refused = {
	using_sa: { value: true, why: "the official class has no tokenizer without attention" },
	using_mid_sa: { value: true, why: "the official class has no tokenizer without attention" },
};

/** Of the picture tokenizer that VAR and its descendants share. `scales`: of the transformer. */
export function codebookFromReference(
	vaeConfig: unknown,
	scales: number,
): { codebook: CodebookConfig; vae: VaeConfig } {
	const v = readFields(Vae, vaeConfig, "tokenizer configuration");
	requireComputed(v, REFUSED_VAE);
	const [vocabulary, channels] = "V" in v ? [v.V, v.Cvae] : [v.vocab_size, v.z_channels];
	if (v.quant_conv_ks !== 1 && v.quant_conv_ks !== 3)
		throw new ModelFormatError(
			`quant_conv_ks = ${v.quant_conv_ks} is not supported, only 1 and 3: the engine has convolutions of these sides.`,
		);
	const multipliers = multipliersOf(v.dec_ch_mult, v.ch_mult, "dec_ch_mult nor ch_mult");
	const share = Math.abs(v.quant_resi);
	return {
		codebook: {
			vocabulary: vocabulary as number,
			channels: channels as number,
			...phisOf(v.share_quant_resi, v.default_qresi_counts || ((v.v_patch_nums ?? v.patch_nums)?.length ?? scales)),
			// The official class leaves the convolutions out below this.
			...(share !== 0.5 && { phiShare: share > 1e-6 ? share : 0 }),
		},
		vae: {
			baseChannels: v.ch,
			multipliers,
			residualBlocks: v.num_res_blocks,
			normGroups: 32,
			normEps: 1e-6,
			...(v.quant_conv_ks === 1 && { latentKernel: 1 as const }),
		},
	};
}

/** share_quant_resi: 0 for one convolution a scale, 1 for a single one, else how many the scales share. */
function phisOf(shared: number, scales: number): Pick<CodebookConfig, "phis" | "phiNames"> {
	if (shared === 0) return { phis: scales, phiNames: "each" };
	return shared === 1 ? { phis: 1, phiNames: "single" } : { phis: shared };
}
