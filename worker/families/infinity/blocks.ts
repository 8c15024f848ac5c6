import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { layerNorm } from "../../../kernels/norm/layer-norm.ts";
import { blend } from "../../../kernels/pointwise/blend.ts";
import type { BlockContext, GraphShape, Sublayer } from "../family.ts";
import { blockOps, GAMMA } from "../shared/block-ops.ts";
import type { Rotary } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import type { InfinityConfig } from "./config.ts";
import { blockName } from "./tensors.ts";

export interface Blocks {
	gpu: Gpu;
	config: InfinityConfig;
	shape: GraphShape;
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

const official = ({ config }: Blocks, { index }: BlockContext) => `transformer.${blockName(config.chunkBlocks, index)}`;
const ops = (pass: Pass, blocks: Blocks, context: BlockContext) =>
	blockOps(pass, blocks, official(blocks, context), context);

function selfAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, normEps: eps } = blocks.config;
	const { index, work } = context;
	const { linear, tapLinear, addLinear, modulated, selfAttention } = ops(pass, blocks, context);
	const table = blocks.modulation[index];
	modulated(table, { half: 0, eps, centred: true });
	linear("sa.mat_qkv", work.normed, work.qkv, width, 3 * width);
	const scaleMul = blocks.weights.get(`${official(blocks, context)}.sa.scale_mul_1H11`);
	selfAttention(blocks.rotary, { scaleMul, scale: 1 }, "sa");
	tapLinear("sa.proj", work.attended, width, "sa_out");
	addLinear("sa.proj", work.attended, width, { table, vector: GAMMA[0] });
}

function crossAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, heads, normEps: eps } = blocks.config;
	const { x, work, self, cross, blank, parts } = context;
	const { label, linear, tapLinear, addLinear, crossAttention } = ops(pass, blocks, context);
	const scale = (width / heads) ** -0.5;
	const norm = blocks.weights.linear(`${official(blocks, context)}.ca_norm`);
	layerNorm(pass, { x, y: work.normed, width, eps, tokens: self.tokens, ...norm, label: label("ca_norm") });
	linear("ca.mat_q", work.normed, work.qkv, width, width);
	crossAttention(cross, work.attended, scale, "ca");
	if (blank) {
		crossAttention(blank, work.hidden, scale, "ca without prompt");
		for (const { at, rows, length, textGuidance: share } of parts) {
			const images = [{ pixel: at, height: 1, width: rows * length }];
			const both = { a: work.hidden, b: work.attended, share, y: work.normed };
			blend(pass, { ...both, images, channels: width, label: label("text guidance") });
		}
	}
	const text = blank ? work.normed : work.attended;
	tapLinear("ca.proj", text, width, "ca_out");
	addLinear("ca.proj", text, width);
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, ffn, normEps: eps } = blocks.config;
	const { index, work } = context;
	const { linear, tapLinear, addLinear, modulated } = ops(pass, blocks, context);
	const table = blocks.modulation[index];
	modulated(table, { half: 1, eps, centred: true });
	linear("ffn.fc1", work.normed, work.hidden, width, ffn, { gelu: true });
	tapLinear("ffn.fc2", work.hidden, ffn, "ffn_out");
	addLinear("ffn.fc2", work.hidden, ffn, { table, vector: GAMMA[1] });
}
