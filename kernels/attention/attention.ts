import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { bucket, memo, pick, range, type Target, type Variant } from "../gpu/variants.ts";
import { ROW, type Row, type RowTable } from "../tokens/rows.ts";

export interface Attention {
	/** [tokens, heads * headDim], `qStride` floats a token. */
	q: Tensor;
	qStride: number;
	/** `stride` elements a key, its key from element `key` on and its value from element `value` on; f32 or f16. */
	kv: { tensor: Tensor; stride: number; key: number; value: number };
	/** The row's own tokens are keys too, after those of `kv`: where a token of `q` has its key and its value. */
	own?: { key: number; value: number };
	/** [tokens, heads * headDim] */
	y: Tensor;
	heads: number;
	headDim: number;
	scale: number;
	rows: RowTable;
	label: string;
	/** For tuning and tests; by default the one chosen for this adapter and shape. */
	variant?: AttentionVariant;
}

/** `tokens` of an invocation; quads share the keys and values they load among four lanes. */
export interface AttentionVariant extends Variant {
	quad: boolean;
	tokens: number;
}
const quad = (tokens: number): AttentionVariant => ({
	name: `quad ${tokens}`,
	quad: true,
	tokens,
	needs: ["subgroups"],
});
const alone = (tokens: number): AttentionVariant => ({ name: `token ${tokens}`, quad: false, tokens });
/** The plainest first: what the tuner checks the others against. */
export const attentionVariants: readonly AttentionVariant[] = [
	alone(1),
	alone(2),
	alone(4),
	alone(8),
	quad(1),
	quad(2),
	quad(4),
];

/** Invocations of a workgroup that share nothing. */
const LANES = 32;

export const attentionKey = (rows: readonly Row[], heads: number, headDim: number) =>
	`attention ${heads}x${headDim} t${bucket(longest(rows))}`;
const longest = (rows: readonly Row[]) => Math.max(...rows.map(({ tokens }) => tokens));

/**
 * Untuned: quads where four lanes are the whole machine, as in matmul, many tokens an invocation on other CPUs. Two
 * variants, since a large one compiles for as long as a scale runs: it is left to where there are many keys as well as
 * tokens. `own` as in `Attention`.
 */
export function pickAttention(
	gpu: Target,
	rows: readonly Row[],
	heads: number,
	headDim: number,
	own = false,
): AttentionVariant {
	const quads = gpu.facts.lanes === 4 && gpu.device.features.has("subgroups");
	const large = longest(rows) > 8 && Math.max(...rows.map(({ keys, tokens }) => keys + (own ? tokens : 0))) > 32;
	const fallback = quads
		? large
			? "quad 4"
			: "quad 1"
		: !gpu.facts.software
			? "token 1"
			: large
				? "token 8"
				: "token 2";
	const variant = pick(gpu, attentionKey(rows, heads, headDim), attentionVariants, fallback);
	return variant.quad && headDim % 16 ? attentionVariants[0] : variant;
}

/**
 * softmax(scale * Q K^T) V by head over each row's own keys (its range of `kv`, then with `own` its tokens), with a
 * running maximum and sum (Milakov and Gimelshein, arXiv 1805.02867): no score matrix in memory. Keys come four at a
 * time, counted from the first of either kind, whatever the variant.
 */
export function attention(pass: Pass, op: Attention): void {
	const { headDim, heads, rows, kv, own, qStride } = op;
	if (headDim % 4) throw new RangeError(`${op.label}: head dimension ${headDim} must be a multiple of 4`);
	const variant = op.variant ?? pickAttention(pass.gpu, rows.rows, heads, headDim, own !== undefined);
	const code = attentionCode(variant, heads, headDim, kv.tensor.dtype === "f16", own !== undefined);
	const params = [
		rows.tokens,
		qStride / 4,
		{ f32: op.scale },
		kv.stride / 4,
		kv.key / 4,
		kv.value / 4,
		(own?.key ?? 0) / 4,
		(own?.value ?? 0) / 4,
	];
	const across = Math.ceil(longest(rows.rows) / variant.tokens / (variant.quad ? 4 : LANES));
	pass.run(op.label, code, params, [op.q, kv.tensor, op.y, rows.table], [across, heads, rows.rows.length]);
}

const attentionCode = memo(
	(variant: AttentionVariant, heads: number, headDim: number, half: boolean, own: boolean): string => {
		const sources = own ? [CACHED, OWN] : [CACHED];
		return `${half ? "enable f16;\n" : ""}${variant.quad ? "enable subgroups;\n" : ""}
${ROW}
struct Params { tokens: u32, qStride4: u32, scale: f32, stride4: u32, key4: u32, value4: u32, ownKey4: u32, ownValue4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> kv: array<${half ? "vec4h" : "vec4f"}>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> rows: array<Row>;
const width4 = ${(heads * headDim) / 4}u;
const LEAST = -3.4e38;
fn loadKv(at: u32) -> vec4f { return ${half ? "vec4f(kv[at])" : "kv[at]"}; }
fn loadOwn(at: u32) -> vec4f { return q[at]; }
${variant.quad ? quadCode(variant.tokens, headDim / 4, sources) : tokenCode(variant.tokens, headDim / 4, sources)}`;
	},
);

/**
 * Keys that a row sees: WGSL of how many, the first, floats / 4 between two, and where in one its key and value begin.
 */
const CACHED = {
	keys: "row.keys",
	first: "row.key",
	stride: "p.stride4",
	key: "p.key4",
	value: "p.value4",
	load: "loadKv",
};
const OWN: Source = {
	keys: "row.tokens",
	first: "row.token",
	stride: "p.qStride4",
	key: "p.ownKey4",
	value: "p.ownValue4",
	load: "loadOwn",
};
type Source = typeof CACHED;

/**
 * The running softmax of token i: its four `score`s become weights, `shrink` is what the sums so far are multiplied by.
 */
const softmax = (i: number) => `
		let top${i} = max(top_${i}, max(max(score${i}.x, score${i}.y), max(score${i}.z, score${i}.w)));
		let shrink${i} = exp(top_${i} - top${i});
		let weight${i} = exp(score${i} - top${i});
		top_${i} = top${i};
		total${i} = fma(total${i}, shrink${i}, dot(weight${i}, vec4f(1)));`;

/** One invocation is a head of `tokens` tokens of a row, which share the keys and values it loads. */
function tokenCode(tokens: number, d4: number, sources: readonly Source[]): string {
	const d = range(d4);
	const t = range(tokens);
	return `
@compute @workgroup_size(${LANES}) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.z];
	let head = id.y * ${d4}u;
	let first = id.x * ${tokens}u;
	if (first >= row.tokens) { return; }
	${t.map((i) => `let t${i} = row.token + min(first + ${i}u, row.tokens - 1u);`).join(" ")}
	${t.flatMap((i) => d.map((c) => `let q${i}_${c} = q[t${i} * p.qStride4 + head + ${c}u] * p.scale;`)).join(" ")}
	${t.flatMap((i) => d.map((c) => `var o${i}_${c} = vec4f(0);`)).join(" ")}
	${t.map((i) => `var top_${i} = LEAST; var total${i} = 0.0;`).join(" ")}
	${sources
		.map(
			(s) => `
	for (var key = 0u; key < ${s.keys}; key += 4u) {
		let valid = vec4u(key) + vec4u(0, 1, 2, 3) < vec4u(${s.keys});
		${t.map((i) => `var dots${i} = vec4f(0);`).join(" ")}
		for (var j = 0u; j < 4u; j++) {
			let at = (${s.first} + min(key + j, ${s.keys} - 1u)) * ${s.stride} + ${s.key} + head;
			let one = vec4u(j) == vec4u(0, 1, 2, 3);
			${t.map((i) => `var sum${i} = vec4f(0);`).join(" ")}
			${d.map((c) => `{ let k = ${s.load}(at + ${c}u); ${t.map((i) => `sum${i} = fma(q${i}_${c}, k, sum${i});`).join(" ")} }`).join("\n\t\t\t")}
			${t.map((i) => `dots${i} = select(dots${i}, vec4f(dot(sum${i}, vec4f(1))), one);`).join(" ")}
		}
		${t
			.map(
				(i) => `let score${i} = select(vec4f(LEAST), dots${i}, valid);
		${softmax(i)}
		${d.map((c) => `o${i}_${c} *= shrink${i};`).join(" ")}`,
			)
			.join("\n\t\t")}
		for (var j = 0u; j < 4u; j++) {
			let at = (${s.first} + min(key + j, ${s.keys} - 1u)) * ${s.stride} + ${s.value} + head;
			${t.map((i) => `let w${i} = vec4f(weight${i}[j]);`).join(" ")}
			${d.map((c) => `{ let v = ${s.load}(at + ${c}u); ${t.map((i) => `o${i}_${c} = fma(w${i}, v, o${i}_${c});`).join(" ")} }`).join("\n\t\t\t")}
		}
	}`,
		)
		.join("")}
	${t.map((i) => `if (first + ${i}u < row.tokens) { ${d.map((c) => `y[t${i} * width4 + head + ${c}u] = o${i}_${c} / total${i};`).join(" ")} }`).join("\n\t")}
}`;
}

/**
 * Four lanes share a head of 4 * `tokens` tokens of a row. For the scores each lane has its own tokens and one of the
 * four keys, and the keys go round by quad swaps; for the sum each lane has its own quarter of the channels, and the
 * weights go round.
 */
function quadCode(tokens: number, d4: number, sources: readonly Source[]): string {
	const d = range(d4);
	const own = range(d4 / 4);
	const t = range(tokens);
	const swap = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"];
	const swapped = (name: string) =>
		`let ${name}_0 = ${name}; ${range(3)
			.map((s) => `let ${name}_${s + 1} = ${swap[s + 1]}(${name});`)
			.join(" ")}`;
	return `
@compute @workgroup_size(4) fn main(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) invocation: u32) {
	let lane = invocation & 3u;
	let odd = (lane & 1u) != 0u;
	let high = (lane & 2u) != 0u;
	let row = rows[id.z];
	let head = id.y * ${d4}u;
	if (id.x * ${4 * tokens}u >= row.tokens) { return; }
	let first = id.x * ${4 * tokens}u + lane;
	${t.map((i) => `let t${i} = row.token + min(first + ${4 * i}u, row.tokens - 1u);`).join(" ")}
	${t.flatMap((i) => d.map((c) => `let q${i}_${c} = q[t${i} * p.qStride4 + head + ${c}u] * p.scale;`)).join(" ")}
	${t.flatMap((i) => range(4).flatMap((s) => own.map((c) => `var o${i}_${s}_${c} = vec4f(0);`))).join(" ")}
	${t.map((i) => `var top_${i} = LEAST; var total${i} = 0.0;`).join(" ")}
	${sources
		.map(
			(s) => `
	for (var key = 0u; key < ${s.keys}; key += 4u) {
		let kAt = (${s.first} + min(key + lane, ${s.keys} - 1u)) * ${s.stride} + ${s.key} + head;
		${t.flatMap((i) => range(4).map((r) => `var dots${i}_${r} = vec4f(0);`)).join(" ")}
		${d.map((c) => `{ let k = ${s.load}(kAt + ${c}u); ${swapped("k")} ${t.flatMap((i) => range(4).map((r) => `dots${i}_${r} = fma(q${i}_${c}, k_${r}, dots${i}_${r});`)).join(" ")} }`).join("\n\t\t")}
		// The score at r belongs to key lane ^ r: back into the order of the keys.
		let valid = vec4u(key) + vec4u(0, 1, 2, 3) < vec4u(${s.keys});
		${t
			.map(
				(i) => `
		let r${i} = vec4f(${range(4)
			.map((r) => `dot(dots${i}_${r}, vec4f(1))`)
			.join(", ")});
		let e${i} = select(r${i}, r${i}.yxwz, odd);
		let score${i} = select(vec4f(LEAST), select(e${i}, e${i}.zwxy, high), valid);
		${softmax(i)}
		${swapped(`shrink${i}`)} ${swapped(`weight${i}`)}
		${range(4)
			.flatMap((r) => own.map((c) => `o${i}_${r}_${c} *= shrink${i}_${r};`))
			.join(" ")}`,
			)
			.join("")}
		${range(4)
			.map(
				(j) => `{
			let vAt = (${s.first} + min(key + ${j}u, ${s.keys} - 1u)) * ${s.stride} + ${s.value} + head + lane * ${d4 / 4}u;
			${own.map((c) => `let v${c} = ${s.load}(vAt + ${c}u);`).join(" ")}
			${t.flatMap((i) => range(4).flatMap((r) => own.map((c) => `o${i}_${r}_${c} = fma(vec4f(weight${i}_${r}[${j}]), v${c}, o${i}_${r}_${c});`))).join(" ")} }`,
			)
			.join("")}
	}`,
		)
		.join("")}
	${t
		.map(
			(i) => `${swapped(`total${i}`)}
	${range(4)
		.map(
			(s) =>
				`{ let t = id.x * ${4 * tokens}u + ${4 * i}u + (lane ^ ${s}u); if (t < row.tokens) { let at = (row.token + t) * width4 + head + lane * ${d4 / 4}u; ${own.map((c) => `y[at + ${c}u] = o${i}_${s}_${c} / total${i}_${s};`).join(" ")} } }`,
		)
		.join(" ")}`,
		)
		.join("\n\t")}
}`;
}
