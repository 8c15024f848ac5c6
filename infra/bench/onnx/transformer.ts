/**
 * The Infinity transformer as ONNX graphs, exported from a model folder's weights: what a user of ONNX Runtime would
 * run, and a second implementation to hold the engine's logits against.
 */
import { infinityRopeTable } from "../../../kernels/attention/rope.ts";
import type { InfinityConfig } from "../../../worker/families/infinity/config.ts";
import { GraphBuilder, MICROSOFT } from "./graph.ts";
import type { HostWeights } from "./weights.ts";

/**
 * `standard`: ONNX operators alone. `fused`: ONNX Runtime's RotaryEmbedding, RMS norm, FastGelu and MultiHeadAttention.
 * `fused but attention`: the same with attention of standard operators.
 */
export const FORMULATIONS = ["standard", "fused", "fused but attention"] as const;
export type Formulation = (typeof FORMULATIONS)[number];

export interface ExportedModel {
	config: InfinityConfig;
	weights: HostWeights;
	grids: readonly (readonly [height: number, width: number])[];
	reach: readonly [number, number];
	textTokens: number;
}

const ROWS = 2;
const MODULATION = ["gamma1", "gamma2", "scale1", "scale2", "shift1", "shift2"] as const;

/**
 * What the text gives every scale. Inputs: sos [2, width], shared_gss [2, 6, width], kv_proj [2, text, width]. Outputs,
 * by block b: gamma1_b .. shift2_b [2, 1, width] (scales with 1 added), text_k_b and text_v_b [2, text, width]; and
 * head_scale, head_shift.
 */
export function conditionGraph({ config, weights, textTokens }: ExportedModel): Uint8Array {
	const { width, depth } = config;
	const g = new GraphBuilder();
	const net = layers(g, config, weights);
	const sos = g.input("sos", [ROWS, width]);
	const shared = g.input("shared_gss", [ROWS, 6, width]);
	const source = g.input("kv_proj", [ROWS, textTokens, width]);
	const plusOne = (value: string) => g.op("Add", [value, g.scalar(1)]);
	for (let b = 0; b < depth; b++) {
		const name = net.blockName(b);
		const sum = g.op("Add", [shared, g.constant(`${name}.ada_gss`, [1, 6, width], weights.get(`${name}.ada_gss`))]);
		const parts = g.ops("Split", [sum, g.ints(...MODULATION.map(() => 1))], 6, { axis: { i: 1 } });
		MODULATION.forEach((part, i) =>
			g.output(`${part}_${b}`, part.startsWith("scale") ? plusOne(parts[i]) : parts[i], [ROWS, 1, width]),
		);
		const kv = net.linear(`${name}.ca.mat_kv`, source, [
			...new Float32Array(width),
			...weights.get(`${name}.ca.v_bias`),
		]);
		const [k, v] = g.ops("Split", [kv, g.ints(width, width)], 2, { axis: { i: 2 } });
		g.output(`text_k_${b}`, k, [ROWS, textTokens, width]);
		g.output(`text_v_${b}`, v, [ROWS, textTokens, width]);
	}
	const head = g.op("Reshape", [
		net.linear("transformer.head_nm.ada_lin.1", g.op("Mul", [sos, g.op("Sigmoid", [sos])])),
		g.ints(ROWS, 1, 2 * width),
	]);
	const [scale, shift] = g.ops("Split", [head, g.ints(width, width)], 2, { axis: { i: 2 } });
	g.output("head_scale", plusOne(scale), [ROWS, 1, width]);
	g.output("head_shift", shift, [ROWS, 1, width]);
	return g.encode();
}

/**
 * All scales in one graph, unrolled: shapes are static, keys and values stay inside, nothing goes back to the host
 * between scales. Inputs: x_i [2, tokens, width] by scale, and what `conditionGraph` gives. Outputs: logits_i [2,
 * tokens, 2 * bits] by scale, and `done`, one float of the last, to wait for.
 */
export function transformerGraph(
	{ config, weights, grids, reach, textTokens }: ExportedModel,
	formulation: Formulation,
): Uint8Array {
	const { width, heads, depth, bits } = config;
	const headDim = width / heads;
	const g = new GraphBuilder();
	const net = layers(g, config, weights);
	const table = infinityRopeTable(grids, headDim, reach);
	const standard = formulation === "standard";
	const turn = (standard ? standardTurn : fusedTurn)(g, config, table);
	const attend = (formulation === "fused" ? fusedAttend : standardAttend)(g, config);
	const given = (name: string) => g.input(name, [ROWS, 1, width]);
	const blocks = Array.from({ length: depth }, (_, b) => {
		const name = net.blockName(b);
		const [gamma1, gamma2, scale1, scale2, shift1, shift2] = MODULATION.map((part) => given(`${part}_${b}`));
		const k = g.input(`text_k_${b}`, [ROWS, textTokens, width]);
		const v = g.input(`text_v_${b}`, [ROWS, textTokens, width]);
		return { name, gamma1, gamma2, scale1, scale2, shift1, shift2, text: { k, v } };
	});
	const [headScale, headShift] = [given("head_scale"), given("head_shift")];
	const modulated = (x: string, scale: string, shift: string) =>
		g.op("Add", [g.op("Mul", [net.norm(x), scale]), shift]);
	const caches: { k: string; v: string }[] = [];
	let first = 0;
	grids.forEach(([h, w], scale) => {
		const tokens = h * w;
		let x = g.input(`x_${scale}`, [ROWS, tokens, width]);
		const plus = (value: string) => (x = g.op("Add", [x, value]));
		blocks.forEach(({ name, gamma1, gamma2, scale1, scale2, shift1, shift2, text }, b) => {
			const qkvBias = [
				...weights.get(`${name}.sa.q_bias`),
				...new Float32Array(width),
				...weights.get(`${name}.sa.v_bias`),
			];
			const qkv = net.linear(`${name}.sa.mat_qkv`, modulated(x, scale1, shift1), qkvBias);
			const [q, k, v] = g.ops("Split", [qkv, g.ints(width, width, width)], 3, { axis: { i: 2 } });
			const scaleMul = weights
				.get(`${name}.sa.scale_mul_1H11`)
				.map((value) => Math.exp(Math.min(value, Math.log(100))));
			const at = { first, tokens };
			const ownK = turn(k, undefined, at);
			const past = caches[b];
			const cache = (caches[b] = past
				? { k: g.op("Concat", [past.k, ownK], { axis: { i: 1 } }), v: g.op("Concat", [past.v, v], { axis: { i: 1 } }) }
				: { k: ownK, v });
			const self = attend(turn(q, g.constant(`${name}.sa.scale`, [heads, 1], scaleMul), at), cache.k, cache.v, 1);
			plus(g.op("Mul", [net.linear(`${name}.sa.proj`, self), gamma1]));
			const normed = net.norm(x, `${name}.ca_norm`);
			plus(
				net.linear(`${name}.ca.proj`, attend(net.linear(`${name}.ca.mat_q`, normed), text.k, text.v, headDim ** -0.5)),
			);
			const hidden = net.linear(`${name}.ffn.fc1`, modulated(x, scale2, shift2));
			const active = standard
				? g.op("Gelu", [hidden], { approximate: { s: "tanh" } })
				: g.op("FastGelu", [hidden], {}, undefined, MICROSOFT);
			plus(g.op("Mul", [net.linear(`${name}.ffn.fc2`, active), gamma2]));
		});
		const logits = net.linear("transformer.head", modulated(x, headScale, headShift));
		g.output(`logits_${scale}`, logits, [ROWS, tokens, 2 * bits]);
		if (scale === grids.length - 1)
			g.output("done", g.op("Slice", [logits, g.ints(0, 0, 0), g.ints(1, 1, 1)]), [1, 1, 1]);
		first += tokens;
	});
	return g.encode();
}

function layers(g: GraphBuilder, config: InfinityConfig, weights: HostWeights) {
	const { width, chunkBlocks, normEps } = config;
	return {
		blockName: (b: number) => `transformer.block_chunks.${Math.floor(b / chunkBlocks)}.module.${b % chunkBlocks}`,
		linear(name: string, x: string, bias: ArrayLike<number> = weights.get(`${name}.bias`)): string {
			const { shape, data } = weights.matrix(`${name}.weight`);
			return g.op("Add", [
				g.op("MatMul", [x, g.constant(`${name}.weight`, shape, data)]),
				g.constant(`${name}.bias`, [bias.length], Float32Array.from(bias)),
			]);
		},
		norm(x: string, name?: string): string {
			const scale = name
				? g.constant(`${name}.weight`, [width], weights.get(`${name}.weight`))
				: g.constant("ones", [width], new Float32Array(width).fill(1));
			const bias = name ? [g.constant(`${name}.bias`, [width], weights.get(`${name}.bias`))] : [];
			return g.op("LayerNormalization", [x, scale, ...bias], { axis: { i: -1 }, epsilon: { f: normEps } });
		},
	};
}

/**
 * Cosine attention's q or k, [2, tokens, width]: L2-normalised by head, times `scale` by head, rotated from position
 * `first` on.
 */
type Turn = (x: string, scale: string | undefined, at: { first: number; tokens: number }) => string;
/** softmax(scale * q k^T) v by head; q: [2, tokens, width], k and v: [2, keys, width]. */
type Attend = (q: string, k: string, v: string, scale: number) => string;

function standardTurn(g: GraphBuilder, { width, heads }: InfinityConfig, table: Float32Array): Turn {
	const headDim = width / heads;
	const half = headDim / 2;
	return (x, scale, { first, tokens }) => {
		const part = (name: string, from: number) =>
			g.constant(
				`${name} ${first}`,
				[tokens, 1, half, 1],
				table.slice(from + first * half, from + (first + tokens) * half),
			);
		const [cos, sin] = [part("cos", 0), part("sin", table.length / 2)];
		const split = g.op("Reshape", [x, g.ints(ROWS, tokens, heads, headDim)]);
		const norm = g.op("Max", [g.op("ReduceL2", [split, g.ints(-1)], { keepdims: { i: 1 } }), g.scalar(1e-12)]);
		const unit = g.op("Div", [split, norm]);
		const scaled = scale ? g.op("Mul", [unit, scale]) : unit;
		const [a, b] = g.ops("Split", [g.op("Reshape", [scaled, g.ints(ROWS, tokens, heads, half, 2)]), g.ints(1, 1)], 2, {
			axis: { i: 4 },
		});
		const real = g.op("Sub", [g.op("Mul", [a, cos]), g.op("Mul", [b, sin])]);
		const imaginary = g.op("Add", [g.op("Mul", [a, sin]), g.op("Mul", [b, cos])]);
		return g.op("Reshape", [g.op("Concat", [real, imaginary], { axis: { i: 4 } }), g.ints(ROWS, tokens, width)]);
	};
}

function fusedTurn(g: GraphBuilder, { width, heads }: InfinityConfig, table: Float32Array): Turn {
	const headDim = width / heads;
	const positions = table.length / headDim;
	const cos = g.constant("cos", [positions, headDim / 2], table.slice(0, table.length / 2));
	const sin = g.constant("sin", [positions, headDim / 2], table.slice(table.length / 2));
	// x / |x| = x * rsqrt(mean(x^2)) / sqrt(headDim): an RMS norm with one weight throughout.
	const unitWeight = g.constant("unit weight", [headDim], new Float32Array(headDim).fill(headDim ** -0.5));
	return (x, scale, { first }) => {
		const split = g.op("Reshape", [x, g.ints(ROWS, -1, heads, headDim)]);
		const unit = g.op("SimplifiedLayerNormalization", [split, unitWeight], { axis: { i: -1 }, epsilon: { f: 1e-20 } });
		const flat = g.op("Reshape", [scale ? g.op("Mul", [unit, scale]) : unit, g.ints(ROWS, -1, width)]);
		return g.op(
			"RotaryEmbedding",
			[flat, g.ints(first), cos, sin],
			{ interleaved: { i: 1 }, num_heads: { i: heads } },
			undefined,
			MICROSOFT,
		);
	};
}

function standardAttend(g: GraphBuilder, { width, heads }: InfinityConfig): Attend {
	const byHead = (x: string, perm: number[]) =>
		g.op("Transpose", [g.op("Reshape", [x, g.ints(ROWS, -1, heads, width / heads)])], { perm: { ints: perm } });
	return (q, k, v, scale) => {
		const scaled = scale === 1 ? q : g.op("Mul", [q, g.scalar(scale)]);
		const scores = g.op("MatMul", [byHead(scaled, [0, 2, 1, 3]), byHead(k, [0, 2, 3, 1])]);
		const y = g.op("MatMul", [g.op("Softmax", [scores], { axis: { i: -1 } }), byHead(v, [0, 2, 1, 3])]);
		return g.op("Reshape", [g.op("Transpose", [y], { perm: { ints: [0, 2, 1, 3] } }), g.ints(ROWS, -1, width)]);
	};
}

const fusedAttend =
	(g: GraphBuilder, { heads }: InfinityConfig): Attend =>
	(q, k, v, scale) =>
		g.op("MultiHeadAttention", [q, k, v], { num_heads: { i: heads }, scale: { f: scale } }, undefined, MICROSOFT);
