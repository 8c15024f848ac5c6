import { attention } from "../../../../kernels/attention.ts";
import type { Gpu, Tensor } from "../../../../kernels/gpu.ts";
import { layerNorm } from "../../../../kernels/norm.ts";
import type { Pass } from "../../../../kernels/pass.ts";
import { rotateAndCache } from "../../../../kernels/rope.ts";
import type { InfinityConfig } from "../../../../model-shards/infinity-config.ts";
import type { Weights } from "../../weights.ts";
import { blockOps, GAMMA, SCALE, SHIFT } from "../block-ops.ts";
import type { BlockContext } from "../graph.ts";
import type { Rotary } from "../rotary.ts";
import { blockName } from "./text.ts";

export interface BlockInput extends BlockContext {
	gpu: Gpu;
	config: InfinityConfig;
	weights: Weights;
	/** Of this block, [conds, 6 * width]. */
	modulation: Tensor;
	rotary: Rotary;
}

/** One Infinity block: gated self attention, cross attention, gated feed-forward. Each adds to the residual stream. */
export function block(pass: Pass, input: BlockInput): void {
	const { gpu, config, weights, index, x, work, modulation, kv, rotary, self, cross, kept } = input;
	const { width, heads, ffn, normEps } = config;
	const headDim = width / heads;
	const official = `transformer.${blockName(config, index)}`;
	const { label, linear, tapLinear, addLinear, modulated } = blockOps(pass, gpu, weights, config, official, input);

	modulated(modulation, SCALE[0], SHIFT[0], normEps, "norm1");
	linear("sa.mat_qkv", work.normed, work.qkv, width, 3 * width);
	const scaleMul = weights.get(`${official}.sa.scale_mul_1H11`);
	rotateAndCache(pass, { qkv: work.qkv, cache: kv, cosSin: rotary.table, positions: rotary.positions, kept, scaleMul, heads, headDim, rows: self, label: label("rope") });
	const cached = { tensor: kv, stride: 2 * width, key: 0, value: width };
	attention(pass, { q: work.qkv, qStride: 3 * width, kv: cached, own: { key: width, value: 2 * width }, y: work.attended, heads, headDim, scale: 1, rows: self, label: label("sa") });
	tapLinear("sa.proj", work.attended, width, "sa_out");
	addLinear("sa.proj", work.attended, width, { table: modulation, vector: GAMMA[0] });

	layerNorm(pass, { x, y: work.normed, width, eps: normEps, rows: self, after: { kind: "affine", ...weights.linear(`${official}.ca_norm`) }, label: label("ca_norm") });
	linear("ca.mat_q", work.normed, work.qkv, width, width);
	attention(pass, { q: work.qkv, qStride: width, kv: cached, y: work.attended, heads, headDim, scale: headDim ** -0.5, rows: cross, label: label("ca") });
	tapLinear("ca.proj", work.attended, width, "ca_out");
	addLinear("ca.proj", work.attended, width);

	modulated(modulation, SCALE[1], SHIFT[1], normEps, "norm2");
	linear("ffn.fc1", work.normed, work.hidden, width, ffn, { gelu: true });
	tapLinear("ffn.fc2", work.hidden, ffn, "ffn_out");
	addLinear("ffn.fc2", work.hidden, ffn, { table: modulation, vector: GAMMA[1] });
}
