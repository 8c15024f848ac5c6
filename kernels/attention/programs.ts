/** The programs of attention: what an invocation, or four lanes, compute of a row. */
import { addProducts, sumProducts, swapped } from "../gpu/quad.ts";
import { range } from "../gpu/variants.ts";

/** Invocations of a workgroup that share nothing. */
export const LANES = 32;

/**
 * Keys that a row sees: WGSL of how many, the first, floats / 4 between two, and where in one its key and value begin.
 */
export interface Source {
	keys: string;
	first: string;
	stride: string;
	key: string;
	value: string;
	load: string;
}
export const CACHED: Source = {
	keys: "row.keys",
	first: "row.key",
	stride: "p.stride4",
	key: "p.key4",
	value: "p.value4",
	load: "loadKv",
};
export const OWN: Source = {
	keys: "row.tokens",
	first: "row.token",
	stride: "p.qStride4",
	key: "p.ownKey4",
	value: "p.ownValue4",
	load: "loadOwn",
};

/**
 * Which of a row's keys a program sees: all, or some of them between others, by windows. Between two the sums so far
 * stay in y and, the greatest score and the sum of weights, in `sums`.
 */
export type Share = "all" | "first" | "middle" | "last";
const resumes = (share: Share) => share === "middle" || share === "last";
const pauses = (share: Share) => share === "first" || share === "middle";

const each = <T>(items: readonly T[], text: (item: T) => string, between = " "): string =>
	items.map(text).join(between);

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
export function tokenCode(tokens: number, d4: number, sources: readonly Source[], share: Share): string {
	const d = range(d4);
	const t = range(tokens);
	const dot = (c: number) => each(t, (i) => `sum${i} = fma(q${i}_${c}, k, sum${i});`);
	const add = (c: number) => each(t, (i) => `o${i}_${c} = fma(w${i}, v, o${i}_${c});`);
	const loop = (s: Source) => `
	for (var key = 0u; key < ${s.keys}; key += 4u) {
		let valid = vec4u(key) + vec4u(0, 1, 2, 3) < vec4u(${s.keys});
		${each(t, (i) => `var dots${i} = vec4f(0);`)}
		for (var j = 0u; j < 4u; j++) {
			let at = (${s.first} + min(key + j, ${s.keys} - 1u)) * ${s.stride} + ${s.key} + head;
			let one = vec4u(j) == vec4u(0, 1, 2, 3);
			${each(t, (i) => `var sum${i} = vec4f(0);`)}
			${each(d, (c) => `{ let k = ${s.load}(at + ${c}u); ${dot(c)} }`)}
			${each(t, (i) => `dots${i} = select(dots${i}, vec4f(dot(sum${i}, vec4f(1))), one);`)}
		}
		${each(
			t,
			(i) => `let score${i} = select(vec4f(LEAST), dots${i}, valid);
		${softmax(i)}
		${each(d, (c) => `o${i}_${c} *= shrink${i};`)}`,
		)}
		for (var j = 0u; j < 4u; j++) {
			let at = (${s.first} + min(key + j, ${s.keys} - 1u)) * ${s.stride} + ${s.value} + head;
			${each(t, (i) => `let w${i} = vec4f(weight${i}[j]);`)}
			${each(d, (c) => `{ let v = ${s.load}(at + ${c}u); ${add(c)} }`)}
		}
	}`;
	const out = (i: number, c: number) => (pauses(share) ? `o${i}_${c}` : `o${i}_${c} / total${i}`);
	const keep = (i: number) =>
		`if (first + ${i}u < row.tokens) { sums[t${i} * heads + id.y] = vec2f(top_${i}, total${i}); }`;
	const outs = each(t, (i) => each(d, (c) => out(i, c), ", "), ", ");
	return `
@compute @workgroup_size(${LANES}) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.z];
	let head = id.y * ${d4}u;
	let first = id.x * ${tokens}u;
	if (first >= row.tokens) { return; }
	${each(t, (i) => `let t${i} = row.token + min(first + ${i}u, row.tokens - 1u);`)}
	${each(t, (i) => each(d, (c) => `let q${i}_${c} = q[t${i} * p.qStride4 + head + ${c}u] * p.scale;`))}
	${each(t, (i) =>
		each(d, (c) => `var o${i}_${c} = ${resumes(share) ? `y[t${i} * width4 + head + ${c}u]` : "vec4f(0)"};`),
	)}
	${each(t, (i) =>
		resumes(share)
			? `var top_${i} = sums[t${i} * heads + id.y].x; var total${i} = sums[t${i} * heads + id.y].y;`
			: `var top_${i} = LEAST; var total${i} = 0.0;`,
	)}
	${each(sources, loop)}
	${pauses(share) ? each(t, keep) : ""}
	// A loop, so that the store is compiled once.
	var outs = array<vec4f, ${tokens * d4}>(${outs});
	for (var i = 0u; i < ${tokens * d4}u; i++) {
		let token = first + i / ${d4}u;
		if (token < row.tokens) { y[(row.token + token) * width4 + head + i % ${d4}u] = outs[i]; }
	}
}`;
}

/**
 * Four lanes share a head of 4 * `tokens` tokens of a row. For the scores each lane has its own tokens and one of the
 * four keys, and the keys go round by quad swaps; for the sum each lane has its own quarter of the channels, and the
 * weights go round.
 */
export function quadCode(tokens: number, d4: number, sources: readonly Source[], share: Share): string {
	const d = range(d4);
	const own = range(d4 / 4);
	const t = range(tokens);
	const four = range(4);
	const around = (name: string) => `let ${name}_0 = ${name}; ${swapped(name)}`;
	/** Sums of all tokens with the key, and with the weights, of lane l ^ r. */
	const dots = (r: number) =>
		sumProducts(
			t.map((i) => ({ name: `dots${i}_${r}`, by: (c, e) => `q${i}_${c}.${e}` })),
			d.map((c) => `k${c}_${r}`),
		);
	const mixes = (c: number) =>
		addProducts(
			t.flatMap((i) =>
				four.map((r) => ({
					name: `o${i}_${r}_${c}`,
					from: (e: string) => `o${i}_${r}_${c}.${e} * shrink${i}_${r}`,
					by: (j: number) => `weight${i}_${r}[${j}]`,
				})),
			),
			four.map((j) => `v${j}_${c}`),
		);
	const weigh = (i: number) => `
		let r${i} = vec4f(${each(four, (r) => `dot(dots${i}_${r}, vec4f(1))`, ", ")});
		let e${i} = select(r${i}, r${i}.yxwz, odd);
		let score${i} = select(vec4f(LEAST), select(e${i}, e${i}.zwxy, high), valid);
		${softmax(i)}
		${around(`shrink${i}`)} ${around(`weight${i}`)}`;
	const loop = (s: Source) => `
	for (var key = 0u; key < ${s.keys}; key += 4u) {
		let kAt = (${s.first} + min(key + lane, ${s.keys} - 1u)) * ${s.stride} + ${s.key} + head;
		${each(d, (c) => `let k${c}_0 = ${s.load}(kAt + ${c}u); ${swapped(`k${c}`)}`)}
		${each(four, dots)}
		// The score at r belongs to key lane ^ r: back into the order of the keys.
		let valid = vec4u(key) + vec4u(0, 1, 2, 3) < vec4u(${s.keys});
		${each(t, weigh)}
		${each(
			four,
			(j) => `
		let vAt${j} = (${s.first} + min(key + ${j}u, ${s.keys} - 1u)) * ${s.stride} + ${s.value} + head + lane * ${d4 / 4}u;
		${each(own, (c) => `let v${j}_${c} = ${s.load}(vAt${j} + ${c}u);`)}`,
		)}
		${each(own, mixes)}
	}`;
	const shares = each(
		t,
		(i) =>
			each(
				four,
				(r) => each(own, (c) => (pauses(share) ? `o${i}_${r}_${c}` : `o${i}_${r}_${c} / total${i}_${r}`), ", "),
				", ",
			),
		", ",
	);
	/** Of the token whose sums a lane has at r, as far as there are any. */
	const tokenAt = (i: number, r: number) => `row.token + min(first + ${4 * i}u + (lane ^ ${r}u), row.tokens - 1u)`;
	const sumsAt = (i: number) => `sums[(${tokenAt(i, 0)}) * heads + id.y]`;
	const partAt = (c: number) => `head + lane * ${d4 / 4}u + ${c}u`;
	return `
@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) invocation: u32) {
	let lane = invocation & 3u;
	let odd = (lane & 1u) != 0u;
	let high = (lane & 2u) != 0u;
	let row = rows[id.z];
	let head = id.y * ${d4}u;
	if (id.x * ${4 * tokens}u >= row.tokens) { return; }
	let first = id.x * ${4 * tokens}u;
	// Loops, so that a load and a store are compiled once each.
	var qs: array<vec4f, ${tokens * d4}>;
	for (var n = 0u; n < ${tokens * d4}u; n++) {
		let token = row.token + min(first + n / ${d4}u * 4u + lane, row.tokens - 1u);
		qs[n] = q[token * p.qStride4 + head + n % ${d4}u] * p.scale;
	}
	${each(t, (i) => each(d, (c) => `let q${i}_${c} = qs[${i * d4 + c}];`))}
	${each(t, (i) =>
		each(four, (s) =>
			each(own, (c) => {
				const so = resumes(share) ? `y[(${tokenAt(i, s)}) * width4 + ${partAt(c)}]` : "vec4f(0)";
				return `var o${i}_${s}_${c} = ${so};`;
			}),
		),
	)}
	${each(t, (i) =>
		resumes(share)
			? `var top_${i} = ${sumsAt(i)}.x; var total${i} = ${sumsAt(i)}.y;`
			: `var top_${i} = LEAST; var total${i} = 0.0;`,
	)}
	${each(sources, loop)}
	${
		pauses(share)
			? each(t, (i) => `if (first + ${4 * i}u + lane < row.tokens) { ${sumsAt(i)} = vec2f(top_${i}, total${i}); }`)
			: ""
	}
	${each(t, (i) => around(`total${i}`))}
	var outs = array<vec4f, ${tokens * d4}>(${shares});
	for (var n = 0u; n < ${tokens * d4}u; n++) {
		let token = first + n / ${d4}u * 4u + (lane ^ ((n / ${d4 / 4}u) % 4u));
		if (token < row.tokens) { y[(row.token + token) * width4 + head + lane * ${d4 / 4}u + n % ${d4 / 4}u] = outs[n]; }
	}
}`;
}
