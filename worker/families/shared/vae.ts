/** The convolutional tokenizer of pictures, as data: configuration, tensors and costs. Its decoder is all we run. */
import { z } from "zod";
import { conv, norm, type TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import { Count } from "./schema.ts";

export const VaeConfig = z.strictObject({
	baseChannels: Count,
	/** Channel multiplier of every level, finest first. */
	multipliers: z.array(Count).min(1).max(8),
	residualBlocks: Count,
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

/** `vae.decoder.*`, and `vae.post_quant_conv` where there is one. `latent`: channels of a cell. */
export function decoderTensors({ config, conv: convName, norm: normName, attentive }: DecoderSource, latent: number) {
	const { baseChannels, multipliers, residualBlocks, latentKernel } = config;
	const convOf = (name: string, from: number, to: number, side?: 1 | 3) =>
		conv(convName(`vae.decoder.${name}`), from, to, side);
	const normOf = (name: string, width: number) => norm(normName(`vae.decoder.${name}`), width);
	const residual = (name: string, from: number, to: number): TensorShape[] => [
		...normOf(`${name}.norm1`, from),
		...convOf(`${name}.conv1`, from, to),
		...normOf(`${name}.norm2`, to),
		...convOf(`${name}.conv2`, to, to),
		...(from === to ? [] : convOf(`${name}.nin_shortcut`, from, to, 1)),
	];
	const attention = (name: string, width: number): TensorShape[] => [
		...normOf(`${name}.norm`, width),
		...convOf(`${name}.qkv`, width, 3 * width, 1),
		...convOf(`${name}.proj_out`, width, width, 1),
	];
	const widths = multipliers.map((m) => m * baseChannels);
	let width = widths[widths.length - 1];
	const list = [
		...(attentive ? conv(convName("vae.post_quant_conv"), latent, latent, latentKernel) : []),
		...convOf("conv_in", latent, width),
		...residual("mid.block_1", width, width),
		...(attentive ? attention("mid.attn_1", width) : []),
		...residual("mid.block_2", width, width),
	];
	for (let level = widths.length - 1; level >= 0; level--) {
		for (let block = 0; block <= residualBlocks; block++) {
			list.push(...residual(`up.${level}.block.${block}`, width, widths[level]));
			width = widths[level];
			if (attentive && level === widths.length - 1) list.push(...attention(`up.${level}.attn.${block}`, width));
		}
		if (level > 0) list.push(...convOf(`up.${level}.upsample.conv`, width, width));
	}
	return [...list, ...normOf("norm_out", width), ...convOf("conv_out", width, 3)];
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
export function decoderOperations({ config, attentive }: DecoderSource, latent: number, cells: number): number {
	const { baseChannels, multipliers, residualBlocks, latentKernel = 3 } = config;
	const conv = (pixels: number, input: number, out: number, taps = 9) => 2 * pixels * input * out * taps;
	const residual = (pixels: number, input: number, out: number) =>
		conv(pixels, input, out) + conv(pixels, out, out) + (input === out ? 0 : conv(pixels, input, out, 1));
	const attention = (pixels: number, width: number) =>
		attentive ? conv(pixels, width, 4 * width, 1) + 4 * pixels * pixels * width : 0;
	const last = multipliers.length - 1;
	let pixels = cells;
	let channels = baseChannels * multipliers[last];
	let flops =
		(attentive ? conv(pixels, latent, latent, latentKernel ** 2) : 0) +
		conv(pixels, latent, channels) +
		2 * residual(pixels, channels, channels) +
		attention(pixels, channels);
	for (let level = last; level >= 0; level--) {
		const out = baseChannels * multipliers[level];
		for (let block = 0; block <= residualBlocks; block++) {
			flops += residual(pixels, channels, out) + (level === last ? attention(pixels, out) : 0);
			channels = out;
		}
		if (level === 0) break;
		pixels *= 4;
		flops += conv(pixels, channels, channels);
	}
	return flops + conv(pixels, channels, 3);
}
