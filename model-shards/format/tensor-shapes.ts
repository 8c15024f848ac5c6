/** Official names and shapes of what the families share. */
import type { VaeConfig } from "../../worker/families/infinity/config.ts";

/** A tensor of a model. `matmul`: a [n, k] matrix that may be quantised along k. */
export interface TensorShape {
	name: string;
	shape: number[];
	matmul?: true;
}

export const matrix = (name: string, from: number, to: number): TensorShape => ({
	name: `${name}.weight`,
	shape: [to, from],
	matmul: true,
});
const bias = (name: string, width: number): TensorShape => ({ name: `${name}.bias`, shape: [width] });
export const linear = (name: string, from: number, to: number): TensorShape[] => [
	matrix(name, from, to),
	bias(name, to),
];
/** First and last layers: small, and worth their full precision. */
export const precise = (name: string, from: number, to: number): TensorShape[] => [
	{ name: `${name}.weight`, shape: [to, from] },
	bias(name, to),
];
export const norm = (name: string, width: number): TensorShape[] => [
	{ name: `${name}.weight`, shape: [width] },
	{ name: `${name}.bias`, shape: [width] },
];
export const conv = (name: string, from: number, to: number, side = 3): TensorShape[] => [
	{ name: `${name}.weight`, shape: [to, from, side, side] },
	{ name: `${name}.bias`, shape: [to] },
];

/**
 * `vae.decoder.*`. Infinity's modules are wrapped: `conv1.conv.weight`, `norm1.norm.weight`; VAR's are not, and have
 * attention.
 */
export function decoderTensors(
	{ baseChannels, multipliers, residualBlocks }: VaeConfig,
	channels: number,
	kind: "wrapped" | "attentive",
): TensorShape[] {
	const wrapped = kind === "wrapped";
	const convOf = (name: string, from: number, to: number, side = 3) =>
		conv(`vae.decoder.${name}${wrapped ? ".conv" : ""}`, from, to, side);
	const normOf = (name: string, width: number) => norm(`vae.decoder.${name}${wrapped ? ".norm" : ""}`, width);
	const residual = (name: string, from: number, to: number): TensorShape[] => [
		...normOf(`${name}.norm1`, from),
		...convOf(`${name}.conv1`, from, to),
		...normOf(`${name}.norm2`, to),
		...convOf(`${name}.conv2`, to, to),
		...(from === to ? [] : convOf(`${name}.nin_shortcut`, from, to, 1)),
	];
	const attention = (name: string, width: number): TensorShape[] =>
		wrapped
			? []
			: [
					...normOf(`${name}.norm`, width),
					...convOf(`${name}.qkv`, width, 3 * width, 1),
					...convOf(`${name}.proj_out`, width, width, 1),
				];
	const widths = multipliers.map((m) => m * baseChannels);
	let width = widths[widths.length - 1];
	const list = [
		...(wrapped ? [] : conv("vae.post_quant_conv", channels, channels)),
		...convOf("conv_in", channels, width),
		...residual("mid.block_1", width, width),
		...attention("mid.attn_1", width),
		...residual("mid.block_2", width, width),
	];
	for (let level = widths.length - 1; level >= 0; level--) {
		for (let block = 0; block <= residualBlocks; block++) {
			list.push(...residual(`up.${level}.block.${block}`, width, widths[level]));
			width = widths[level];
			if (level === widths.length - 1) list.push(...attention(`up.${level}.attn.${block}`, width));
		}
		if (level > 0) list.push(...convOf(`up.${level}.upsample.conv`, width, width));
	}
	return [...list, ...normOf("norm_out", width), ...convOf("conv_out", width, 3)];
}
