import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { blend } from "../../../kernels/pointwise/blend.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import type { BlockContext, GraphShape, Sublayer } from "../family.ts";
import { blockOps, GAMMA } from "../shared/block-ops.ts";
import type { Rotary } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import type { InfinityConfig } from "./config.ts";
import { ownNorm } from "./norm.ts";
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

const moduleOf = ({ config, weights }: Blocks, { index }: BlockContext) =>
	weights.module(`transformer.${blockName(config, index)}`);
const ops = (pass: Pass, blocks: Blocks, context: BlockContext) =>
	blockOps(pass, blocks, moduleOf(blocks, context), context);

function selfAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, heads, normEps: eps, norm, normalised = true, attentionTau = 1 } = blocks.config;
	const { index, work } = context;
	const { tapLinear, addLinear, modulated, selfAttention } = ops(pass, blocks, context);
	const table = blocks.modulation[index];
	addLevel(pass, blocks, context);
	modulated(table, { half: 0, eps, centred: norm !== "rms" });
	const scaleMul = normalised ? moduleOf(blocks, context).get("sa.scale_mul_1H11") : undefined;
	const scale = normalised ? 1 : 1 / Math.sqrt(width / heads) / attentionTau;
	selfAttention("sa.mat_qkv", blocks.rotary, { scaleMul, scale }, "sa");
	tapLinear("sa.proj", work.attended, width, "sa_out");
	addLinear("sa.proj", work.attended, width, { table, vector: GAMMA[0] });
}

/** The level again, before the chunks after the first one, where the model has it so. */
function addLevel(pass: Pass, { config, weights }: Blocks, { index, x, work, self, parts }: BlockContext): void {
	const { width, levels, chunkBlocks, blockNames } = config;
	const begins = blockNames === "flat" || index % chunkBlocks === 0;
	if (levels !== "chunks" || index === 0 || !begins) return;
	const { tokens: count } = self;
	const scales = new Uint32Array(count);
	for (const { at, rows, length, scale } of parts) scales.fill(scale, at, at + rows * length);
	const own = pass.table(Array.from({ length: count }, (_, i) => i));
	const extra = { table: weights.get("transformer.lvl_embed.weight"), index: pass.table([...scales]) };
	gatherRows(pass, { x, index: own, y: work.normed, count, width, extra, label: `block ${index} level` });
	copy(pass, { x: work.normed, y: x, count: count * width, label: `block ${index} with level` });
}

function crossAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, heads, crossGate } = blocks.config;
	const { x, work, self, cross, blank, parts } = context;
	const { label, linear, tapLinear, addLinear, crossAttention } = ops(pass, blocks, context);
	const scale = (width / heads) ** -0.5;
	const module = moduleOf(blocks, context);
	ownNorm(pass, blocks.config, module.projection("ca_norm"), {
		x,
		y: work.normed,
		tokens: self.tokens,
		label: label("ca_norm"),
	});
	linear("ca.mat_q", work.normed, work.qkv, width, width);
	crossAttention(cross, work.attended, scale, "ca");
	if (blank) {
		crossAttention(blank, work.normed, scale, "ca without prompt");
		for (const { at, rows, length, textGuidance: share } of parts) {
			const images = [{ pixel: at, height: 1, width: rows * length }];
			const both = { a: work.normed, b: work.attended, share, y: work.qkv };
			blend(pass, { ...both, images, channels: width, label: label("text guidance") });
		}
	}
	const text = blank ? work.qkv : work.attended;
	tapLinear("ca.proj", text, width, "ca_out");
	addLinear("ca.proj", text, width, crossGate ? { table: module.get("ca_gamma") } : undefined);
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { normEps: eps, norm } = blocks.config;
	const { modulated, feedForward } = ops(pass, blocks, context);
	const table = blocks.modulation[context.index];
	modulated(table, { half: 1, eps, centred: norm !== "rms" });
	const gated = blocks.shape.gated ? "ffn.fcg" : undefined;
	feedForward({ up: "ffn.fc1", gated, down: "ffn.fc2" }, { table, vector: GAMMA[1] });
}
