import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { normaliseHeads } from "../../../kernels/norm/head-norm.ts";
import { layerNorm } from "../../../kernels/norm/layer-norm.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { BlockContext, GraphShape, Sublayer } from "../family.ts";
import { blockOps } from "../shared/block-ops.ts";
import type { Rotary } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import type { StarConfig } from "./config.ts";

/** y = LayerNorm(x), [tokens, width], without weights. */
export type PlainNorm = (pass: Pass, x: Tensor, y: Tensor, tokens: number, label: string) => void;

export function plainNorm(scope: Scope, width: number, eps: number): PlainNorm {
	const weight = scope.upload("ones", [width], new Float32Array(width).fill(1));
	const bias = scope.upload("zeros", [width], new Float32Array(width));
	return (pass, x, y, tokens, label) => layerNorm(pass, { x, y, width, eps, tokens, weight, bias, label });
}

export interface Blocks {
	gpu: Gpu;
	config: StarConfig;
	shape: GraphShape;
	weights: Weights;
	rotary: Rotary;
	norm: PlainNorm;
}

/** One STAR block: self attention, cross attention, feed-forward. Each adds to the residual stream. */
export const starSublayers = (blocks: Blocks): Sublayer[] => [
	{ name: "attn", run: (pass, context) => selfAttention(pass, blocks, context) },
	...(blocks.config.crossAttention === false
		? []
		: [{ name: "cross_attn", run: (pass: Pass, context: BlockContext) => crossAttention(pass, blocks, context) }]),
	{ name: "ffn", run: (pass, context) => feedForward(pass, blocks, context) },
];

const moduleOf = ({ weights }: Blocks, { index }: BlockContext) => weights.module(`transformer.blocks.${index}`);
/** How an attention's scores are scaled: by head, its queries and keys normalised, or all alike. */
function scalesOf(blocks: Blocks, context: BlockContext, name: string) {
	const { normalised = true, width, heads } = blocks.config;
	return normalised
		? { scaleMul: moduleOf(blocks, context).get(`${name}.scale_mul_1H11`), scale: 1 }
		: { scaleMul: undefined, scale: 0.25 / Math.sqrt(width / heads) };
}

function selfAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width } = blocks.config;
	const { x, work, self } = context;
	const ops = blockOps(pass, blocks, moduleOf(blocks, context), context);
	blocks.norm(pass, x, work.normed, self.tokens, ops.label("norm1"));
	ops.selfAttention("attn.mat_qkv", blocks.rotary, scalesOf(blocks, context, "attn"), "attn");
	ops.tapLinear("attn.proj", work.attended, width, "attn_out");
	ops.addLinear("attn.proj", work.attended, width);
}

function crossAttention(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { width, heads } = blocks.config;
	const { x, work, self, cross, parts } = context;
	const { tokens } = self;
	const ops = blockOps(pass, blocks, moduleOf(blocks, context), context);
	blocks.norm(pass, x, work.normed, tokens, ops.label("norm2"));
	ops.linear("cross_attn.mat_q", work.normed, work.qkv, width, width);
	const { scaleMul, scale } = scalesOf(blocks, context, "cross_attn");
	const queries = { x: work.qkv, stride: width, tokens, heads, headDim: width / heads, scaleMul };
	if (scaleMul) normaliseHeads(pass, { ...queries, label: ops.label("cross_attn queries") });
	ops.crossAttention(cross, work.attended, scale, "cross_attn");
	ops.tapLinear("cross_attn.proj", work.attended, width, "cross_attn_out");
	// The published model adds the result of a picture's first guidance row to all of its rows.
	const first = new Uint32Array(tokens);
	for (const { at, rows, length } of parts) for (let i = 0; i < rows * length; i++) first[at + i] = at + (i % length);
	const rows = { x: work.attended, index: pass.table(first), y: work.normed };
	gatherRows(pass, { ...rows, count: tokens, width, label: ops.label("first row") });
	ops.addLinear("cross_attn.proj", work.normed, width);
}

function feedForward(pass: Pass, blocks: Blocks, context: BlockContext): void {
	const { x, work, self } = context;
	const ops = blockOps(pass, blocks, moduleOf(blocks, context), context);
	blocks.norm(pass, x, work.normed, self.tokens, ops.label("norm3"));
	ops.feedForward({ up: "ffn.fc1", down: "ffn.fc2" });
}
