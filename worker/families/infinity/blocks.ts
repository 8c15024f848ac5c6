import { attention } from "../../../kernels/attention/attention.ts";
import { rotateAndCache } from "../../../kernels/attention/rope.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { layerNorm } from "../../../kernels/norm/layer-norm.ts";
import { blend } from "../../../kernels/pointwise/blend.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import type { BlockContext, Sublayer } from "../family.ts";
import { blockOps, GAMMA, SCALE, SHIFT } from "../shared/block-ops.ts";
import type { Rotary } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import type { InfinityConfig } from "./config.ts";
import { blockName } from "./text.ts";

export interface Blocks {
	gpu: Gpu;
	config: InfinityConfig;
	weights: Weights;
	/** By block, [conds, 6 * width]. */
	modulation: readonly Tensor[];
	rotary: Rotary;
}

/** One Infinity block: gated self attention, cross attention, gated feed-forward. Each adds to the residual stream. */
export const infinitySublayers = (blocks: Blocks): Sublayer[] => [
	{ name: "sa", run: (pass, context) => selfAttention(pass, blocks, context) },
	{ name: "ca", run: (pass, context) => crossAttention(pass, blocks, context) },
	{ name: "ffn", run: (pass, context) => feedForward(pass, blocks, context) },
];

const official = (config: InfinityConfig, index: number) => `transformer.${blockName(config, index)}`;
const cached = (kv: Tensor, width: number) => ({ tensor: kv, stride: 2 * width, key: 0, value: width });
const ops = (pass: Pass, { gpu, weights, config }: Blocks, context: BlockContext) =>
	blockOps(pass, gpu, weights, config, official(config, context.index), context);

function selfAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { config, weights, rotary } = blocks;
	const { width, heads, normEps } = config;
	const { index, work, kv, self, kept } = context;
	const { label, linear, tapLinear, addLinear, modulated } = ops(pass, blocks, context);
	const modulation = blocks.modulation[index];
	const headDim = width / heads;
	modulated(modulation, SCALE[0], SHIFT[0], normEps, "norm1");
	linear("sa.mat_qkv", work.normed, work.qkv, width, 3 * width);
	const scaleMul = weights.get(`${official(config, index)}.sa.scale_mul_1H11`);
	rotateAndCache(pass, {
		qkv: work.qkv,
		cache: kv,
		cosSin: rotary.table,
		positions: rotary.positions,
		selected: kept,
		scaleMul,
		heads,
		headDim,
		rows: self,
		label: label("rope"),
	});
	attention(pass, {
		q: work.qkv,
		qStride: 3 * width,
		kv: cached(kv, width),
		own: { key: width, value: 2 * width },
		y: work.attended,
		heads,
		headDim,
		scale: 1,
		rows: self,
		label: label("sa"),
	});
	tapLinear("sa.proj", work.attended, width, "sa_out");
	addLinear("sa.proj", work.attended, width, { table: modulation, vector: GAMMA[0] });
}

function crossAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { config, weights } = blocks;
	const { width, heads, normEps } = config;
	const { index, x, work, kv, self, cross, blank, parts } = context;
	const { label, linear, tapLinear, addLinear } = ops(pass, blocks, context);
	const headDim = width / heads;
	layerNorm(pass, {
		x,
		y: work.normed,
		width,
		eps: normEps,
		tokens: self.tokens,
		...weights.linear(`${official(config, index)}.ca_norm`),
		label: label("ca_norm"),
	});
	linear("ca.mat_q", work.normed, work.qkv, width, width);
	const read = (rows: RowTable, y: Tensor, name: string) =>
		attention(pass, {
			q: work.qkv,
			qStride: width,
			kv: cached(kv, width),
			y,
			heads,
			headDim,
			scale: headDim ** -0.5,
			rows,
			label: label(name),
		});
	read(cross, work.attended, "ca");
	if (blank) {
		read(blank, work.hidden, "ca without prompt");
		for (const { at, rows, length, textGuidance } of parts) {
			const tokens = { pixel: at, height: 1, width: rows * length };
			blend(pass, {
				a: work.hidden,
				b: work.attended,
				share: textGuidance,
				y: work.normed,
				images: [tokens],
				channels: width,
				label: label("text guidance"),
			});
		}
	}
	const text = blank ? work.normed : work.attended;
	tapLinear("ca.proj", text, width, "ca_out");
	addLinear("ca.proj", text, width);
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, ffn, normEps } = blocks.config;
	const { index, work } = context;
	const { linear, tapLinear, addLinear, modulated } = ops(pass, blocks, context);
	const modulation = blocks.modulation[index];
	modulated(modulation, SCALE[1], SHIFT[1], normEps, "norm2");
	linear("ffn.fc1", work.normed, work.hidden, width, ffn, { gelu: true });
	tapLinear("ffn.fc2", work.hidden, ffn, "ffn_out");
	addLinear("ffn.fc2", work.hidden, ffn, { table: modulation, vector: GAMMA[1] });
}
