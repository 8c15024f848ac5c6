import type { Tensor } from "./gpu.ts";
import type { Pass } from "./pass.ts";
import { range } from "./tuning.ts";
import { groups, ROW, type RowTable } from "./rows.ts";

/**
 * softmax(scale * Q K^T) V by head over each row's own key range, with a running maximum and sum (Milakov and Gimelshein,
 * arXiv 1805.02867): no score matrix in memory. One thread is one (token, head).
 *
 * q: [tokens, heads * headDim] (`qStride` floats a token); y: [tokens, heads * headDim]. `kv` holds `stride` floats a key, its key
 * from float `key` on and its value from float `value` on.
 */
export function attention(
	pass: Pass,
	op: { q: Tensor; qStride: number; kv: { tensor: Tensor; stride: number; key: number; value: number }; y: Tensor; heads: number; headDim: number; scale: number; rows: RowTable; label: string },
): void {
	const { heads, headDim, rows, kv } = op;
	if (headDim % 4) throw new RangeError(`${op.label}: head dimension ${headDim} must be a multiple of 4`);
	const d = range(headDim / 4);
	const code = `
${ROW}
struct Params { tokens: u32, qStride4: u32, scale: f32, stride4: u32, key4: u32, value4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> kv: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> tokenRow: array<u32>;
@group(0) @binding(5) var<storage, read> rows: array<Row>;
const width4 = ${(heads * headDim) / 4}u;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let t = id.x;
	let head = id.y * ${headDim / 4}u;
	if (t >= p.tokens) { return; }
	let row = rows[tokenRow[t]];
	let qAt = t * p.qStride4 + head;
	${d.map((i) => `let q${i} = q[qAt + ${i}u] * p.scale;`).join(" ")}
	${d.map((i) => `var o${i} = vec4f(0);`).join(" ")}
	var top = -3.4e38;
	var total = 0.0;
	for (var key = row.key; key < row.key + row.keys; key++) {
		let k = key * p.stride4 + p.key4 + head;
		var dots = vec4f(0);
		${d.map((i) => `dots = fma(q${i}, kv[k + ${i}u], dots);`).join(" ")}
		let score = dot(dots, vec4f(1));
		if (score > top) {
			let shrink = exp(top - score);
			top = score;
			total *= shrink;
			${d.map((i) => `o${i} *= shrink;`).join(" ")}
		}
		let weight = exp(score - top);
		total += weight;
		let v = key * p.stride4 + p.value4 + head;
		${d.map((i) => `o${i} = fma(vec4f(weight), kv[v + ${i}u], o${i});`).join(" ")}
	}
	let yAt = t * width4 + head;
	${d.map((i) => `y[yAt + ${i}u] = o${i} / total;`).join(" ")}
}`;
	pass.run(op.label, code, [rows.tokens, op.qStride / 4, { f32: op.scale }, kv.stride / 4, kv.key / 4, kv.value / 4, 0, 0], [op.q, kv.tensor, op.y, rows.tokenRow, rows.table], [groups(rows.tokens), heads]);
}
