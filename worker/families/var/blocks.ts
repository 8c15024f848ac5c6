import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { BlockContext, GraphShape, Sublayer } from "../family.ts";
import { blockOps, GAMMA } from "../shared/block-ops.ts";
import type { Weights } from "../shared/weights.ts";
import type { VarConfig } from "./config.ts";

export interface Blocks {
	gpu: Gpu;
	config: VarConfig;
	shape: GraphShape;
	weights: Weights;
	/** By block, [conds, 6 * width]. */
	modulation: readonly Tensor[];
}

/** One VAR block: gated self attention, gated feed-forward. Each adds to the residual stream. */
export const varSublayers = (blocks: Blocks): Sublayer[] => [
	{ name: "attn", run: (pass, context) => selfAttention(pass, blocks, context) },
	{ name: "ffn", run: (pass, context) => feedForward(pass, blocks, context) },
];

const moduleOf = ({ weights }: Blocks, { index }: BlockContext) => weights.module(`transformer.blocks.${index}`);

function selfAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, heads, normalised, normEps: eps } = blocks.config;
	const { index, work } = context;
	const { linear, tapLinear, addLinear, modulated, selfAttention } = blockOps(
		pass,
		blocks,
		moduleOf(blocks, context),
		context,
	);
	const table = blocks.modulation[index];
	modulated(table, { half: 0, eps, centred: true });
	linear("attn.mat_qkv", work.normed, work.qkv, width, 3 * width);
	const scaleMul = normalised ? moduleOf(blocks, context).get("attn.scale_mul_1H11") : undefined;
	selfAttention({}, { scaleMul, scale: normalised ? 1 : 0.25 / Math.sqrt(width / heads) }, "attn");
	tapLinear("attn.proj", work.attended, width, "attn_out");
	addLinear("attn.proj", work.attended, width, { table, vector: GAMMA[0] });
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, normEps: eps } = blocks.config;
	const { ffn } = blocks.shape;
	const { index, work } = context;
	const { linear, tapLinear, addLinear, modulated } = blockOps(pass, blocks, moduleOf(blocks, context), context);
	const table = blocks.modulation[index];
	modulated(table, { half: 1, eps, centred: true });
	linear("ffn.fc1", work.normed, work.hidden, width, ffn, true);
	tapLinear("ffn.fc2", work.hidden, ffn, "ffn_out");
	addLinear("ffn.fc2", work.hidden, ffn, { table, vector: GAMMA[1] });
}
