/** The convolutional tokenizer of pictures, as data: configuration, tensors and costs. Its decoder is all we run. */
import { z } from "zod";
import { conv, norm, type TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import { Count, Layers } from "./schema.ts";

export const VaeConfig = z.strictObject({
	baseChannels: Count,
	/** Channel multiplier of every level, finest first. */
	multipliers: z.array(Count).min(1).max(8),
	residualBlocks: Layers,
	/** Of every norm, or by level, finest first. */
	normGroups: z.union([Count, z.array(Count).min(1).max(8)]),
	normEps: z.number().gt(0),
	/** Side of the convolution before everything else, where there is one. Left out: 3. */
	latentKernel: z.literal([1, 3]).optional(),
});
export type VaeConfig = z.infer<typeof VaeConfig>;

/**
 * Which decoder it is: its shape, how its checkpoint names a module's convolution and norm, and whether it has
 * attention.
 */
export interface DecoderSource {
	config: VaeConfig;
	conv(module: string): string;
	norm(module: string): string;
	/**
	 * VAR's: a 3x3 convolution before everything else, attention in the middle and after each residual block of the
	 * coarsest level.
	 */
	attentive: boolean;
}

/** Infinity's: modules are wrapped, as in `conv1.conv.weight` and `norm1.norm.weight`. */
export const wrappedDecoder = (config: VaeConfig): DecoderSource => ({
	config,
	conv: (module) => `${module}.conv`,
	norm: (module) => `${module}.norm`,
	attentive: false,
});

/** VAR's. */
export const attentiveDecoder = (config: VaeConfig): DecoderSource => ({
	config,
	conv: (module) => module,
	norm: (module) => module,
	attentive: true,
});

/** Pixels per side of a latent's cell. */
export const pixelsPerCell = ({ multipliers }: VaeConfig): number => 2 ** (multipliers.length - 1);

/** Groups of a norm over so many channels. */
export const groupsOf = ({ baseChannels, multipliers, normGroups }: VaeConfig, width: number): number =>
	typeof normGroups === "number" ? normGroups : normGroups[multipliers.indexOf(width / baseChannels)];

/** Of any norm. */
export const mostGroups = ({ normGroups }: VaeConfig): number => Math.max(...[normGroups].flat());

export function vaeProblems(config: VaeConfig): string[] {
	const { baseChannels, multipliers, normGroups } = config;
	if (typeof normGroups !== "number" && normGroups.length !== multipliers.length)
		return [`normGroups has ${normGroups.length} entries for ${multipliers.length} levels`];
	return multipliers
		.map((multiplier) => baseChannels * multiplier)
		.flatMap((width) => [
			...(width % 4 === 0 ? [] : [`decoder width ${width} is not a multiple of 4`]),
			...(width % groupsOf(config, width) === 0
				? []
				: [`decoder width ${width} is not a multiple of normGroups ${groupsOf(config, width)}`]),
		]);
}

/** A step of the decoder, from so many channels to so many, on pixels of a level: the finest is 0. */
export interface DecoderLayer {
	/**
	 * A convolution; a residual block; attention over all pixels, added; a nearest x2 and a convolution; norm and
	 * convolution to the picture.
	 */
	kind: "convolution" | "residual" | "attention" | "enlarge" | "finish";
	/** Of its module, or of what its modules' names begin with. */
	name: string;
	from: number;
	to: number;
	/** Of what comes out. */
	level: number;
	/** Of a convolution. */
	side?: 1 | 3;
	/** Reference names of what comes out. */
	taps?: readonly string[];
}

/** What the decoder does, in order. `latent`: channels of a cell. */
export function decoderLayers({ config, attentive }: DecoderSource, latent: number): DecoderLayer[] {
	const { baseChannels, multipliers, residualBlocks, latentKernel = 3 } = config;
	const widths = multipliers.map((m) => m * baseChannels);
	const coarsest = widths.length - 1;
	const list: DecoderLayer[] = [];
	let [width, level] = [latent, coarsest];
	const add = (kind: DecoderLayer["kind"], name: string, to = width, more: Partial<DecoderLayer> = {}) => {
		list.push({ kind, name: `vae.${name}`, from: width, to, level, ...more });
		width = to;
	};
	const decoder = (kind: DecoderLayer["kind"], name: string, to?: number, taps?: readonly string[]) =>
		add(kind, `decoder.${name}`, to, { taps });
	if (attentive) add("convolution", "post_quant_conv", latent, { side: latentKernel, taps: ["post_quant"] });
	add("convolution", "decoder.conv_in", widths[coarsest], { side: 3 });
	decoder("residual", "mid.block_1", width, attentive ? ["mid1"] : ["mid1", "mid_attn"]);
	if (attentive) decoder("attention", "mid.attn_1", width, ["mid_attn"]);
	decoder("residual", "mid.block_2");
	for (; level >= 0; level--) {
		const up = `up.${level}`;
		for (let block = 0; block <= residualBlocks; block++) {
			decoder("residual", `${up}.block.${block}`, widths[level]);
			if (attentive && level === coarsest) decoder("attention", `${up}.attn.${block}`);
		}
		if (level > 0) add("enlarge", `decoder.${up}.upsample.conv`, width, { level: level - 1 });
	}
	level = 0;
	decoder("finish", "", 3);
	return list;
}

/** `vae.decoder.*`, and `vae.post_quant_conv` where there is one. `latent`: channels of a cell. */
export function decoderTensors(source: DecoderSource, latent: number): TensorShape[] {
	const convOf = (name: string, from: number, to: number, side?: 1 | 3) => conv(source.conv(name), from, to, side);
	const normOf = (name: string, width: number) => norm(source.norm(name), width);
	const tensorsOf = ({ kind, name, from, to, side }: DecoderLayer): TensorShape[] => {
		switch (kind) {
			case "convolution":
			case "enlarge":
				return convOf(name, from, to, side);
			case "residual":
				return [
					...normOf(`${name}.norm1`, from),
					...convOf(`${name}.conv1`, from, to),
					...normOf(`${name}.norm2`, to),
					...convOf(`${name}.conv2`, to, to),
					...(from === to ? [] : convOf(`${name}.nin_shortcut`, from, to, 1)),
				];
			case "attention":
				return [
					...normOf(`${name}.norm`, from),
					...convOf(`${name}.qkv`, from, 3 * from, 1),
					...convOf(`${name}.proj_out`, from, from, 1),
				];
			case "finish":
				return [...normOf(`${name}norm_out`, from), ...convOf(`${name}conv_out`, from, to)];
		}
	};
	return decoderLayers(source, latent).flatMap(tensorsOf);
}

/** Floats of the decoder's tensors for `cells` cells in all: each of its three, and attention's scores. */
export function decoderFloats(
	{ config, attentive }: DecoderSource,
	latent: number,
	cells: number,
): { work: number; scores: number; pixels: number } {
	const { baseChannels, multipliers } = config;
	const widths = multipliers.map((m) => m * baseChannels);
	const pixels = (level: number) => cells * 4 ** (widths.length - 1 - level);
	// A level's tensors are as large as its pixels times its own width or the wider one it comes from.
	const levels = widths.map((width, level) => pixels(level) * Math.max(width, widths[level + 1] ?? width));
	const coarsest = cells * Math.max(latent, (attentive ? 3 : 1) * widths[widths.length - 1]);
	return { work: Math.max(coarsest, ...levels), scores: attentive ? cells * cells : 0, pixels: pixels(0) };
}

/** Operations of decoding `cells` cells of a latent; a multiply-add is two. */
export function decoderOperations(source: DecoderSource, latent: number, cells: number): number {
	const coarsest = source.config.multipliers.length - 1;
	return decoderLayers(source, latent).reduce((sum, { kind, from, to, level, side = 3 }) => {
		const pixels = cells * 4 ** (coarsest - level);
		const conv = (input: number, out: number, taps: number) => 2 * pixels * input * out * taps;
		switch (kind) {
			case "residual":
				return sum + conv(from, to, 9) + conv(to, to, 9) + (from === to ? 0 : conv(from, to, 1));
			case "attention":
				return sum + conv(from, 4 * from, 1) + 4 * pixels * pixels * from;
			default:
				return sum + conv(from, to, side ** 2);
		}
	}, 0);
}
