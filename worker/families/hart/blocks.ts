import type { HalvesRotation } from "../../../kernels/attention/rope.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import type { BlockContext, GraphShape, Sublayer } from "../family.ts";
import { blockOps, GAMMA } from "../shared/block-ops.ts";
import type { Weights } from "../shared/weights.ts";
import type { HartConfig } from "./config.ts";

export interface Blocks {
	gpu: Gpu;
	config: HartConfig;
	shape: GraphShape;
	weights: Weights;
	/** By block, [conds, 6 * width]. */
	modulation: readonly Tensor[];
	halves: HalvesRotation;
}

/** One HART block: gated self attention, gated SwiGLU. Each adds to the residual stream. */
export const hartSublayers = (blocks: Blocks): Sublayer[] => [
	{ name: "attn", run: (pass, context) => selfAttention(pass, blocks, context) },
	{ name: "ffn", run: (pass, context) => feedForward(pass, blocks, context) },
];

const moduleOf = ({ weights }: Blocks, { index }: BlockContext) => weights.module(`transformer.blocks.${index}`);
/**
 * work.normed = the RMS norm of x, whose one weight serves both halves of a block, modulated where blocks are; gives
 * the gate of what the half adds.
 */
function normed(pass: Pass, blocks: Blocks, context: BlockContext, half: 0 | 1) {
	const { config, modulation } = blocks;
	const { x, work, index, self } = context;
	const { label, modulated } = blockOps(pass, blocks, moduleOf(blocks, context), context);
	const weight = moduleOf(blocks, context).get("ln_wo_grad.weight");
	const { normEps: eps, width } = config;
	if (config.modulation === "none") {
		rmsNorm(pass, { x, y: work.normed, weight, tokens: self.tokens, width, eps, label: label(`norm${half + 1}`) });
		return undefined;
	}
	const table = modulation[index];
	modulated(table, { half, eps, centred: false, weight });
	return { table, vector: GAMMA[half] };
}

function selfAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, heads, normalised } = blocks.config;
	const { work } = context;
	const { tapLinear, addLinear, selfAttention } = blockOps(pass, blocks, moduleOf(blocks, context), context);
	const gate = normed(pass, blocks, context, 0);
	const scaleMul = normalised ? moduleOf(blocks, context).get("attn.scale_mul_1H11") : undefined;
	const scale = normalised ? 1 : 0.25 / Math.sqrt(width / heads);
	selfAttention("attn.qkv_proj", { halves: blocks.halves }, { scaleMul, scale }, "attn");
	tapLinear("attn.proj", work.attended, width, "attn_out");
	addLinear("attn.proj", work.attended, width, gate);
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { feedForward } = blockOps(pass, blocks, moduleOf(blocks, context), context);
	const gate = normed(pass, blocks, context, 1);
	feedForward(
		blocks.config.feedForward === "gelu"
			? { up: "ffn.fc1", down: "ffn.fc2" }
			: { up: "ffn.up_proj", gated: "ffn.gate_proj", down: "ffn.down_proj" },
		gate,
	);
}
