import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bucket, range, type Tunable, type Variant } from "../gpu/variants.ts";
import { groups } from "../gpu/workgroups.ts";

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
	/** For tuning and tests; by default the one chosen for this adapter and shape. */
	variant?: SequenceVariant;
}

/** Invocations of a workgroup, which share nothing. */
interface SequenceVariant extends Variant {
	lanes: number;
}
/** The plainest first: what the tuner checks the others against. */
const sequenceVariants: readonly SequenceVariant[] = [64, 32, 16, 8].map((lanes) => ({
	name: `lanes ${lanes}`,
	lanes,
}));

interface Options {
	lanes: number;
	heads: number;
	kvHeads: number;
	headDim: number;
	causal: boolean;
}

const PARAMS = {
	tokens: "u32",
	keys: "u32",
	qStride4: "u32",
	qAt4: "u32",
	kStride4: "u32",
	kAt4: "u32",
	vStride4: "u32",
	vAt4: "u32",
	d4: "u32",
	scale: "f32",
} as const;

/** One invocation is one (token, head); keys come four at a time under a running maximum and sum, as in `attention`. */
const attending = kernel({
	name: "sequence attention",
	params: PARAMS,
	bindings: {
		q: read("vec4f"),
		k: read("vec4f"),
		v: read("vec4f"),
		y: write("vec4f"),
		bias: optional(read("f32")),
		biasRow: optional(read("u32")),
		seen: optional(read("u32")),
	},
	code: ({ lanes, heads, kvHeads, headDim, causal }: Options, { bias, seen }) => {
		const d4 = headDim / 4;
		const d = range(d4);
		const biased = `bias[biasRow[other + p.tokens - 1u - t] * ${heads}u + id.y]`;
		const place = `let other = ${seen ? "seen[p.tokens + key + j]" : "key + j"};`;
		return `
const LEAST = -3.4e38;
@compute @workgroup_size(${lanes}) fn main(@builtin(global_invocation_id) id: vec3u) {
	let t = id.x;
	if (t >= p.tokens) { return; }
	let keys = ${!causal ? "p.keys" : seen ? "seen[t]" : "t + 1u"};
	let qAt = t * p.qStride4 + p.qAt4 + id.y * ${d4}u;
	let head = id.y / ${heads / kvHeads}u * ${d4}u;
	${d.map((i) => `let q${i} = q[qAt + ${i}u] * p.scale;`).join(" ")}
	${d.map((i) => `var o${i} = vec4f(0);`).join(" ")}
	var top = LEAST;
	var total = 0.0;
	for (var key = 0u; key < keys; key += 4u) {
		// As long as only the device knows: no compiler repeats what is in the loops.
		let four = min(4u, keys - key);
		var score = vec4f(LEAST);
		for (var j = 0u; j < four; j++) {
			${place}
			let at = other * p.kStride4 + p.kAt4 + head;
			var dots = vec4f(0);
			${d.map((i) => `dots = fma(q${i}, k[at + ${i}u], dots);`).join(" ")}
			let one = dot(dots, vec4f(1))${bias ? ` + ${biased}` : ""};
			score = select(score, vec4f(one), vec4u(j) == vec4u(0, 1, 2, 3));
		}
		let most = max(top, max(max(score.x, score.y), max(score.z, score.w)));
		let shrink = exp(top - most);
		let weight = exp(score - most);
		top = most;
		total = fma(total, shrink, dot(weight, vec4f(1)));
		${d.map((i) => `o${i} *= shrink;`).join(" ")}
		for (var j = 0u; j < four; j++) {
			${place}
			let at = other * p.vStride4 + p.vAt4 + head;
			let w = vec4f(weight[j]);
			${d.map((i) => `o${i} = fma(w, v[at + ${i}u], o${i});`).join(" ")}
		}
	}
	${seen ? "total = select(total, 1.0, keys == 0u);" : ""}
	let at = (t * ${heads}u + id.y) * ${d4}u;
	let outs = array<vec4f, ${d4}>(${d.map((i) => `o${i} / total`).join(", ")});
	for (var i = 0u; i < p.d4; i++) { y[at + i] = outs[i]; }
}`;
	},
});

/**
 * softmax(scale * Q K^T + bias) V by head within one sequence. The sums run in `attention`'s order: with neither mask
 * nor bias it gives the same bits.
 */
export function sequenceAttention(pass: Pass, op: SequenceAttention): void {
	const { q, k, v, y, heads, kvHeads, headDim, tokens, seen, scale, causal, bias, label } = op;
	if (headDim % 4) throw new RangeError(`${label}: head dimension ${headDim} must be a multiple of 4`);
	if (heads % kvHeads) throw new RangeError(`${label}: ${heads} heads do not share ${kvHeads} heads of keys evenly`);
	const shape = { tokens, heads, kvHeads, headDim, causal };
	const { lanes } = op.variant ?? pass.gpu.choice(sequenceTunable, shape);
	pass.run(attending, {
		label,
		options: { lanes, heads, kvHeads, headDim, causal },
		params: {
			tokens,
			keys: seen?.length ?? tokens,
			qStride4: q.stride / 4,
			qAt4: q.at / 4,
			kStride4: k.stride / 4,
			kAt4: k.at / 4,
			vStride4: v.stride / 4,
			vAt4: v.at / 4,
			d4: headDim / 4,
			scale,
		},
		bindings: {
			q: q.tensor,
			k: k.tensor,
			v: v.tensor,
			y,
			bias: bias?.table,
			biasRow: bias?.index,
			seen: seen && pass.table(seenTable(seen, tokens)),
		},
		groups: [groups(tokens, lanes), heads],
	});
}

/** How many of the seen tokens stand at or before each token; then which they are. */
function seenTable(seen: readonly number[], tokens: number): number[] {
	let count = 0;
	return [...Array.from({ length: tokens }, (_, t) => (count += Number(seen[count] === t))), ...seen];
}

export interface SequenceShape {
	tokens: number;
	heads: number;
	kvHeads: number;
	headDim: number;
	causal: boolean;
}

export const sequenceTunable: Tunable<SequenceShape, SequenceVariant> = {
	key: ({ tokens, heads, kvHeads, headDim, causal }) =>
		`${causal ? "causal " : ""}sequence attention ${heads}:${kvHeads}x${headDim} t${bucket(tokens)}`,
	variants: sequenceVariants,
	untuned: () => "lanes 64",
	trial({ tokens, heads, kvHeads, headDim, causal }) {
		const [width, kvWidth] = [heads * headDim, kvHeads * headDim];
		return {
			name: `${causal ? "causal " : ""}sequence attention ${tokens} ${heads}:${kvHeads}x${headDim}`,
			flops: (causal ? 2 : 4) * tokens ** 2 * width,
			inputs: [width, kvWidth, kvWidth].map((each) => ({ size: tokens * each })),
			outputs: tokens * width,
			row: width,
			record: (pass, [q, k, v], y, variant) =>
				sequenceAttention(pass, {
					q: { tensor: q, stride: width, at: 0 },
					k: { tensor: k, stride: kvWidth, at: 0 },
					v: { tensor: v, stride: kvWidth, at: 0 },
					y,
					tokens,
					heads,
					kvHeads,
					headDim,
					scale: headDim ** -0.5,
					causal,
					label: "tune sequence attention",
					variant,
				}),
		};
	},
};
