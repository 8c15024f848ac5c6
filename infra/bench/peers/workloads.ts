/** What is compared: single operators at the shapes of two models, with the data they run on. */

/**
 * `links` matmuls one after the other, k -> n -> k ..., each with a weight of its own: what a submission does in a
 * transformer.
 */
export type Workload = { name: string } & (
	| { op: "matmul"; m: number; k: number; n: number; links: number }
	| { op: "attention"; rows: number; tokens: number; keys: number; heads: number; headDim: number }
	| { op: "conv3x3"; height: number; width: number; input: number; output: number }
);

/**
 * Row-major. matmul: x [m, k], w [links, k * n], each [k, n] or, every second, [n, k]. attention: x, k, v [rows, tokens
 * or keys, heads * headDim]. conv3x3: x [height, width, input], w [output, input, 3, 3], bias.
 */
export type Data = Record<"x" | "w" | "k" | "v" | "bias", Float32Array<ArrayBuffer>>;

const matmuls = (model: string, layer: string, k: number, n: number, rows: number[]): Workload[] =>
	rows.map((m) => ({ name: `${model} ${layer} ${m}x${k}x${n}`, op: "matmul", m, k, n, links: 1 }));
const chains = (model: string, k: number, n: number, links: number, rows: number[]): Workload[] =>
	rows.map((m) => ({ name: `${model} chain of ${links}: ${m}x${k}x${n}x${k}...`, op: "matmul", m, k, n, links }));
const attentions = (
	model: string,
	heads: number,
	headDim: number,
	scales: [tokens: number, keys: number][],
): Workload[] =>
	scales.map(([tokens, keys]) => ({
		name: `${model} attention 2x${tokens} over ${keys}, ${heads}x${headDim}`,
		op: "attention",
		rows: 2,
		tokens,
		keys,
		heads,
		headDim,
	}));
const convs = (model: string, levels: [side: number, channels: number][]): Workload[] =>
	levels.map(([side, channels]) => ({
		name: `${model} conv ${side}x${side}x${channels}`,
		op: "conv3x3",
		height: side,
		width: side,
		input: channels,
		output: channels,
	}));

/**
 * Token counts are those of both guidance rows at some scales. emoji-128: scales of 2x2, 8x8 and 16x16 tokens (chains:
 * 1x1 too), decoder levels from the latent's 16x16 to the picture's 128x128. Infinity-2B: the first scales of the
 * 1024x1024 schedule, then late ones.
 */
export const WORKLOADS: readonly Workload[] = [
	...matmuls("emoji-128", "qkv", 192, 576, [512]),
	...matmuls("emoji-128", "fc1", 192, 768, [8, 128, 512]),
	...matmuls("emoji-128", "fc2", 768, 192, [8, 128, 512]),
	...chains("emoji-128", 192, 768, 16, [2, 8, 128]),
	...attentions("emoji-128", 3, 64, [
		[64, 121],
		[256, 521],
	]),
	...convs("emoji-128", [
		[16, 128],
		[32, 64],
		[64, 32],
		[128, 16],
	]),
	...matmuls("Infinity-2B", "qkv", 2048, 6144, [2, 8]),
	...matmuls("Infinity-2B", "fc1", 2048, 8192, [8, 32, 128, 512, 2048]),
	...matmuls("Infinity-2B", "fc2", 8192, 2048, [32, 512, 2048]),
	...attentions("Infinity-2B", 16, 128, [
		[16, 21],
		[64, 121],
		[256, 521],
		[1600, 4521],
	]),
	...convs("Infinity-2B", [
		[16, 512],
		[64, 512],
	]),
];

/** Multiply-adds count as two. */
export function flopsOf(work: Workload): number {
	if (work.op === "matmul") return 2 * work.m * work.k * work.n * work.links;
	if (work.op === "attention") return 4 * work.rows * work.tokens * work.keys * work.heads * work.headDim;
	return 2 * work.height * work.width * work.input * work.output * 9;
}

let latest: { work: Workload; data: Data } | undefined;

/** The same data for every contender, scaled so that results are near 1; those of the latest workload are kept. */
export function dataOf(work: Workload): Data {
	if (latest?.work !== work) latest = { work, data: makeData(work) };
	return latest.data;
}

function makeData(work: Workload): Data {
	const next = generator(1);
	const uniform = (count: number, size: number) => Float32Array.from({ length: count }, () => size * (2 * next() - 1));
	const none = new Float32Array(0);
	if (work.op === "matmul") {
		const { m, k, n, links } = work;
		const weights = Array.from({ length: links }, (_, link) => uniform(k * n, Math.sqrt(3 / (link % 2 ? n : k))));
		return { x: uniform(m * k, Math.sqrt(3)), w: joined(weights), k: none, v: none, bias: none };
	}
	if (work.op === "attention") {
		const width = work.heads * work.headDim;
		const keys = () => uniform(work.rows * work.keys * width, 1);
		return { x: uniform(work.rows * work.tokens * width, 3), w: none, k: keys(), v: keys(), bias: none };
	}
	const { height, width, input, output } = work;
	return {
		x: uniform(height * width * input, 1),
		w: uniform(9 * input * output, 1 / Math.sqrt(input)),
		k: none,
		v: none,
		bias: uniform(output, 1),
	};
}

export function joined(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
	const out = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
	let at = 0;
	for (const part of parts) {
		out.set(part, at);
		at += part.length;
	}
	return out;
}

/** Mulberry32: plain fast noise; nothing depends on its quality. */
function generator(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}
