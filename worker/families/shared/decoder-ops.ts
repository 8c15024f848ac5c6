/** The operators of a picture decoder, by the names of their modules: what it computes with, whole or by tiles. */
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { conv3x3 } from "../../../kernels/image/conv.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { applyGroupNorm, groupNormSilu } from "../../../kernels/norm/group-norm.ts";
import { type DecoderSource, groupsOf } from "./vae.ts";
import type { Weights } from "./weights.ts";

/** From one tensor of images to another of the same sides, or twice as long ones with `upsample`. */
export interface Convolution {
	x: Tensor;
	y: Tensor;
	/** Of y. */
	images: readonly ImageShape[];
	from: number;
	to: number;
	/** Default 3. */
	side?: 1 | 3;
	upsample?: boolean;
	add?: boolean;
}

export interface DecoderNorm {
	x: Tensor;
	y: Tensor;
	scratch: Tensor;
	images: readonly ImageShape[];
	channels: number;
	plain?: boolean;
}

export class DecoderOps {
	readonly source: DecoderSource;
	#weights: Weights;

	constructor(source: DecoderSource, weights: Weights) {
		this.source = source;
		this.#weights = weights;
	}

	convolution(pass: Pass, name: string, { from, to, side = 3, images, ...op }: Convolution): void {
		const linear = this.#weights.linear(this.source.conv(name));
		if (side === 3) conv3x3(pass, { ...op, ...linear, images, inChannels: from, outChannels: to, label: name });
		else matmul(pass, { ...op, ...linear, m: pixelsOf(images), k: from, n: to, label: name });
	}

	/** Statistics and all. */
	norm(pass: Pass, name: string, op: DecoderNorm): void {
		groupNormSilu(pass, { ...this.#norm(name, op), ...this.statistics(op.channels) });
	}

	/** By statistics that are there. */
	applyNorm(pass: Pass, name: string, op: DecoderNorm): void {
		applyGroupNorm(pass, this.#norm(name, op));
	}

	/** How the statistics of a norm over so many channels are made. */
	statistics(channels: number): { groups: number; eps: number } {
		const { config } = this.source;
		return { groups: groupsOf(config, channels), eps: config.normEps };
	}

	#norm(name: string, op: DecoderNorm) {
		const { groups } = this.statistics(op.channels);
		return { ...op, ...this.#weights.linear(this.source.norm(name)), groups, label: name };
	}
}

export const pixelsOf = (images: readonly ImageShape[]): number =>
	images.reduce((sum, { height, width }) => sum + height * width, 0);
