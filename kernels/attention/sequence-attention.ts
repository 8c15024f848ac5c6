import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { memo, range } from "../gpu/variants.ts";
import { groups } from "../tokens/rows.ts";

/** Heads of a projection: `stride` floats a token, the first head from float `at` on. */
export interface Heads {
	tensor: Tensor;
	stride: number;
	at: number;
}

export interface SequenceAttention {
	/**
	 * [tokens, heads * headDim]; k and v may have fewer heads, each shared by as many neighbours of q (grouped queries).
	 */
	q: Heads;
	k: Heads;
	v: Heads;
	/** [tokens, heads * headDim] */
	y: Tensor;
	tokens: number;
	/**
	 * Places of the tokens that are seen, in order; by default all are. Others are padding: they see, and a token that
	 * sees none gets zeros.
	 */
	seen?: readonly number[];
	heads: number;
	kvHeads: number;
	headDim: number;
	scale: number;
	/** A token sees itself and those before it. */
	causal: boolean;
	/** Added to the scores: row `index[key - query + tokens - 1]` (u32) of a table [rows, heads]. */
	bias?: { table: Tensor; index: Tensor };
	label: string;
}

/**
 * softmax(scale * Q K^T + bias) V by head within one sequence. The sums run in `attention`'s order: with neither mask
 * nor bias it gives the same bits.
 */
export function sequenceAttention(pass: Pass, op: SequenceAttention): void {
	const { q, k, v, heads, kvHeads, headDim, tokens, seen, causal, bias } = op;
	if (headDim % 4) throw new RangeError(`${op.label}: head dimension ${headDim} must be a multiple of 4`);
	if (heads % kvHeads) throw new RangeError(`${op.label}: ${heads} heads do not share ${kvHeads} heads of keys evenly`);
	const params = [
		tokens,
		seen?.length ?? tokens,
		...[q, k, v].flatMap(({ stride, at }) => [stride / 4, at / 4]),
		{ f32: op.scale },
		0,
		0,
		0,
	];
	const bindings = [
		q.tensor,
		k.tensor,
		v.tensor,
		op.y,
		...(bias ? [bias.table, bias.index] : []),
		...(seen ? [pass.table(seenTable(seen, tokens))] : []),
	];
	pass.run(
		op.label,
		sequenceCode(heads, kvHeads, headDim / 4, causal, bias !== undefined, seen !== undefined),
		params,
		bindings,
		[groups(tokens), heads],
	);
}

/** How many of the seen tokens stand at or before each token; then which they are. */
function seenTable(seen: readonly number[], tokens: number): number[] {
	let count = 0;
	return [...Array.from({ length: tokens }, (_, t) => (count += Number(seen[count] === t))), ...seen];
}

/** One invocation is one (token, head); keys come four at a time under a running maximum and sum, as in `attention`. */
const sequenceCode = memo(
	(heads: number, kvHeads: number, d4: number, causal: boolean, bias: boolean, masked: boolean): string => {
		const d = range(d4);
		const four = range(4);
		const keys = masked ? "seen[t]" : "t + 1u";
		const place = (j: number) => `min(key + ${j}u, keys - 1u)`;
		return `
struct Params { tokens: u32, keys: u32, qStride4: u32, qAt4: u32, kStride4: u32, kAt4: u32, vStride4: u32, vAt4: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
${
	bias
		? `@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> biasRow: array<u32>;`
		: ""
}
${masked ? `@group(0) @binding(${bias ? 7 : 5}) var<storage, read> seen: array<u32>;` : ""}
const LEAST = -3.4e38;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let t = id.x;
	if (t >= p.tokens) { return; }
	let keys = ${causal ? keys : "p.keys"};
	let qAt = t * p.qStride4 + p.qAt4 + id.y * ${d4}u;
	let head = id.y / ${heads / kvHeads}u * ${d4}u;
	${d.map((i) => `let q${i} = q[qAt + ${i}u] * p.scale;`).join(" ")}
	${d.map((i) => `var o${i} = vec4f(0);`).join(" ")}
	var top = LEAST;
	var total = 0.0;
	for (var key = 0u; key < keys; key += 4u) {
		${four.map((j) => `let key${j} = ${masked ? `seen[p.tokens + ${place(j)}]` : place(j)}; let k${j} = key${j} * p.kStride4 + p.kAt4 + head; let v${j} = key${j} * p.vStride4 + p.vAt4 + head; var dots${j} = vec4f(0);`).join("\n\t\t")}
		${four.flatMap((j) => d.map((i) => `dots${j} = fma(q${i}, k[k${j} + ${i}u], dots${j});`)).join(" ")}
		var score = vec4f(${four.map((j) => `dot(dots${j}, vec4f(1))`).join(", ")});
		${bias ? `score += vec4f(${four.map((j) => `bias[biasRow[key${j} + p.tokens - 1u - t] * ${heads}u + id.y]`).join(", ")});` : ""}
		score = select(vec4f(LEAST), score, vec4u(key) + vec4u(0, 1, 2, 3) < vec4u(keys));
		let most = max(top, max(max(score.x, score.y), max(score.z, score.w)));
		let shrink = exp(top - most);
		let weight = exp(score - most);
		top = most;
		total = fma(total, shrink, dot(weight, vec4f(1)));
		${d.map((i) => `o${i} *= shrink;`).join(" ")}
		${four.flatMap((j) => d.map((i) => `o${i} = fma(vec4f(weight[${j}]), v[v${j} + ${i}u], o${i});`)).join(" ")}
	}
	${masked ? "total = select(total, 1.0, keys == 0u);" : ""}
	let at = (t * ${heads}u + id.y) * ${d4}u;
	${d.map((i) => `y[at + ${i}u] = o${i} / total;`).join(" ")}
}`;
	},
);
