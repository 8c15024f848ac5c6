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
	const { tapLinear, addLinear, modulated, selfAttention } = blockOps(pass, blocks, moduleOf(blocks, context), context);
	const table = blocks.modulation[index];
	modulated(table, { half: 0, eps, centred: true });
	const scaleMul = normalised ? moduleOf(blocks, context).get("attn.scale_mul_1H11") : undefined;
	selfAttention("attn.mat_qkv", {}, { scaleMul, scale: normalised ? 1 : 0.25 / Math.sqrt(width / heads) }, "attn");
	tapLinear("attn.proj", work.attended, width, "attn_out");
	addLinear("attn.proj", work.attended, width, { table, vector: GAMMA[0] });
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { modulated, feedForward } = blockOps(pass, blocks, moduleOf(blocks, context), context);
	const table = blocks.modulation[context.index];
	modulated(table, { half: 1, eps: blocks.config.normEps, centred: true });
	feedForward({ up: "ffn.fc1", down: "ffn.fc2" }, { table, vector: GAMMA[1] });
}
