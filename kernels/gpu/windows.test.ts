/** Long tensors: every operator that takes them gives the bits of the whole, window by window. */
import { describe, expect, test } from "vitest";
import { attention, attentionVariants } from "../attention/attention.ts";
import { rotateAndCache } from "../attention/rope.ts";
import { conv3x3 } from "../image/conv.ts";
import { type Resize, resize } from "../image/interpolate.ts";
import { matmul } from "../matmul/matmul.ts";
import { normaliseHeads } from "../norm/head-norm.ts";
import { layerNorm, rmsNorm } from "../norm/layer-norm.ts";
import { modulatedNorm } from "../norm/modulated-norm.ts";
import { activate, silu } from "../pointwise/activation.ts";
import { blend } from "../pointwise/blend.ts";
import { addGated, siluOfSum } from "../pointwise/gated.ts";
import { sampleBits } from "../sample/bits.ts";
import { sampleCategories } from "../sample/categories.ts";
import type { SampleRow } from "../sample/row.ts";
import { seekTemperature } from "../sample/temperature.ts";
import { Bench, words } from "../testing.ts";
import { copy, gatherRows, subtractFrom } from "../tokens/gather.ts";
import {
	drawPositions,
	drawProjection,
	farthestPositions,
	project,
	type ReduceRow,
	squaredNorms,
} from "../tokens/project.ts";
import { type Row, rowTable } from "../tokens/rows.ts";
import { gatherSelected, scatterRows } from "../tokens/selected.ts";
import { OutOfMemoryError } from "./errors.ts";
import { Gpu } from "./gpu.ts";
import { sharedGpu } from "./native/testing.ts";
import type { Pass } from "./pass.ts";
import type { Tensor } from "./tensor.ts";

const gpu = await sharedGpu();
const BINDING = 8192;
const small = new Gpu(gpu.device, gpu.facts, BINDING);

/** Tokens of two rows, and floats of a token: 12 KiB, in steps of 8 tokens. */
const [TOKENS, WIDTH] = [126, 24];
const ROWS: Row[] = [
	{ token: 0, tokens: 53, cond: 1, rope: 5, key: 3, keys: 61, append: 64 },
	{ token: 53, tokens: 73, cond: 0, rope: 0, key: 140, keys: 90, append: 230 },
];
const REDUCED: ReduceRow[] = [
	{ token: 0, tokens: 53, out: 70, count: 11, draw: 3, seed: 5, scale: 2, stream: 0, columns: 10 },
	{ token: 53, tokens: 73, out: 0, count: 49, draw: 610, seed: 6, scale: 3, stream: 1, columns: 8 },
];
const MATRICES = 610 + 73 * 49;

/** What an operator does with tensors that are the same whenever it is asked; `out`: what it wrote. */
type Case = (bench: Bench) => { record(pass: Pass): void; out: Tensor[] };

async function bits(on: Gpu, make: Case): Promise<number[][]> {
	using bench = new Bench(gpu);
	const { record, out } = make(bench);
	const pass = on.pass("windows");
	record(pass);
	await pass.submit(out.map((tensor) => ({ ...tensor })));
	return (await gpu.read(out)).map((data) => [...new Uint32Array(data)]);
}

const x = (bench: Bench, columns = WIDTH, tokens = TOKENS) => bench.random(tokens, columns).tensor;
const simple =
	(record: (pass: Pass, x: Tensor, y: Tensor, bench: Bench) => void, columns = WIDTH): Case =>
	(bench) => {
		const [from, to] = [x(bench), x(bench, columns)];
		return { record: (pass) => record(pass, from, to, bench), out: [to] };
	};

const norm = { tokens: TOKENS, width: WIDTH, eps: 1e-6, label: "norm" };
const CASES: Record<string, Case> = {
	matmul: (bench) => {
		const [from, to, weight, bias] = [x(bench), x(bench, 40), x(bench, 40, WIDTH), x(bench, 40, 1)];
		const table = x(bench, 80, 2);
		return {
			record: (pass) => {
				const gate = { table, stride: 80, at: 40, rows: rowTable(pass, ROWS) };
				matmul(pass, { x: from, y: to, weight, bias, m: TOKENS, k: WIDTH, n: 40, add: true, gate, label: "matmul" });
			},
			out: [to],
		};
	},
	"modulated norm": simple((pass, x, y, bench) => {
		const modulation = { table: bench.random(2, 2 * WIDTH).tensor, stride: 2 * WIDTH, scale: 0, shift: WIDTH };
		modulatedNorm(pass, { x, y, ...norm, centred: true, ...modulation, rows: rowTable(pass, ROWS) });
	}),
	"modulated norm by token": simple((pass, x, y, bench) => {
		const modulation = { table: bench.random(TOKENS, 2 * WIDTH).tensor, stride: 2 * WIDTH, scale: 0, shift: WIDTH };
		modulatedNorm(pass, { x, y, ...norm, centred: false, ...modulation });
	}),
	"layer norm": simple((pass, x, y, bench) =>
		layerNorm(pass, { x, y, ...norm, weight: bench.random(WIDTH).tensor, bias: bench.random(WIDTH).tensor }),
	),
	"rms norm": simple((pass, x, y, bench) => rmsNorm(pass, { x, y, ...norm, weight: bench.random(WIDTH).tensor })),
	"head norm": simple((pass, _, y) =>
		normaliseHeads(pass, { x: y, stride: WIDTH, tokens: TOKENS, heads: 2, headDim: 8, label: "heads" }),
	),
	silu: simple((pass, x, y) => silu(pass, { x, y, count: TOKENS * WIDTH, label: "silu" })),
	activation: simple((pass, x, y) =>
		activate(pass, { x: y, gated: x, count: TOKENS * WIDTH, how: "gelu-tanh", label: "gelu" }),
	),
	"silu of sum": simple((pass, x, y, bench) => {
		const table = bench.random(3, WIDTH).tensor;
		siluOfSum(pass, { x, table, row: 2, y, tokens: TOKENS, width: WIDTH, label: "silu" });
	}),
	"add gated": simple((pass, x, y, bench) => {
		const gates = bench.random(TOKENS, 3 * WIDTH).tensor;
		addGated(pass, { x, gates, stride: 3 * WIDTH, at: WIDTH, y, tokens: TOKENS, width: WIDTH, label: "gate" });
	}),
	blend: simple((pass, a, y, bench) => {
		const images = [
			{ pixel: 3, height: 1, width: 50 },
			{ pixel: 57, height: 6, width: 11 },
		];
		const b = bench.random(TOKENS, WIDTH).tensor;
		blend(pass, { a, b, share: 0.3, y, images, channels: WIDTH, add: true, label: "blend" });
	}),
	"gather rows": simple((pass, x, y, bench) => {
		const index = pass.table(Array.from({ length: 100 }, (_, i) => (i * 37) % TOKENS));
		const extra = {
			table: bench.random(5, WIDTH).tensor,
			index: pass.table(Array.from({ length: 100 }, (_, i) => i % 5)),
		};
		gatherRows(pass, { x, index, y, to: 21, count: 100, width: WIDTH, extra, label: "gather" });
	}),
	copy: simple((pass, x, y) => copy(pass, { x, from: 36, y, to: 148, count: 2800, label: "copy" })),
	subtract: simple((pass, x, y) => subtractFrom(pass, { x, from: 148, y, to: 4, count: 2800, label: "subtract" })),
	"squared norms": simple(
		(pass, x, norms) => squaredNorms(pass, { x, norms, tokens: TOKENS, width: WIDTH, label: "norms" }),
		1,
	),
	"draw and project": (bench) => {
		const [from, y] = [x(bench), x(bench)];
		const matrices = bench.empty(MATRICES);
		return {
			record: (pass) => {
				drawProjection(pass, { matrices, rows: REDUCED, label: "Q" });
				project(pass, { x: from, matrices, y, width: WIDTH, rows: REDUCED, label: "project" });
			},
			out: [y, matrices],
		};
	},
	...Object.fromEntries(
		(["mean", "neighbours"] as const).map((from): [string, Case] => [
			`farthest from ${from}`,
			(bench) => {
				const [tensor, means, keys] = [x(bench), bench.empty(2, WIDTH), bench.empty(TOKENS)];
				const positions = bench.empty(700);
				const op = { x: tensor, from, means, keys, positions, width: WIDTH, rows: REDUCED, label: "farthest" };
				return { record: (pass) => farthestPositions(pass, op), out: [keys, positions] };
			},
		]),
	),
	...Object.fromEntries(
		[gatherSelected, scatterRows].map((move): [string, Case] => [
			move.name,
			(bench) => {
				const [from, y] = [x(bench), x(bench)];
				const positions = bench.put(Uint32Array.from({ length: 700 }, (_, i) => (i * 29) % 53)).tensor;
				const op = { x: from, positions, y, width: WIDTH, rows: REDUCED, label: "move" };
				return { record: (pass) => move(pass, op), out: [y] };
			},
		]),
	),
	...Object.fromEntries(
		(["bilinear", "bicubic", "area", "nearest"] satisfies Resize[]).flatMap((how) =>
			[false, true].map((enlarge): [string, Case] => [
				`${how} ${enlarge ? "enlarged" : "shrunk"}`,
				(bench) => {
					const [from, y] = [x(bench, WIDTH, 300), x(bench, WIDTH, 300)];
					const images = [
						[
							{ pixel: 5, height: 9, width: 7 },
							{ pixel: 90, height: 5, width: 4 },
						],
						[
							{ pixel: 2, height: 13, width: 9 },
							{ pixel: 150, height: 14, width: 8 },
						],
					];
					const [a, b] = enlarge ? images : images.toReversed();
					const op = { x: from, y, how, channels: WIDTH, from: a, to: b, add: true, label: how };
					return { record: (pass) => resize(pass, op), out: [y] };
				},
			]),
		),
	),
	"sample bits": (bench) => sampling(bench, 8, (pass, op) => sampleBits(pass, { ...op, bits: 4 })),
	"sample categories": (bench) =>
		sampling(bench, WIDTH, (pass, op) => sampleCategories(pass, { ...op, vocabulary: 22, stride: WIDTH })),
	"seek temperature": (bench) => {
		const [logits, taus] = [x(bench, 8, 300), bench.empty(2)];
		const temperature = { confidence: 0.55, between: [0.2, 3] as const };
		const rows = SAMPLED.map((row) => ({ ...row, temperature }));
		const op = { logits, taus, choices: 4, values: 2, rows, label: "temperature" };
		return { record: (pass) => seekTemperature(pass, op), out: [taus] };
	},
};

const SAMPLED: SampleRow[] = [
	{ cond: 3, uncond: 64, tokens: 60, out: 1, guidance: 3, tau: 0.8, topK: 0, topP: 0.97, seed: 4, scale: 2 },
	{ cond: 7, uncond: 7, tokens: 40, out: 66, guidance: 1, tau: 1, topK: 5, topP: 0, seed: 9, scale: 1 },
];
function sampling(
	bench: Bench,
	stride: number,
	sample: (pass: Pass, op: { logits: Tensor; mixed: Tensor; codes: Tensor; rows: SampleRow[]; label: string }) => void,
) {
	const [logits, mixed, codes] = [x(bench, stride, 300), x(bench, stride, 300), bench.empty(TOKENS)];
	const op = { logits, mixed, codes, rows: SAMPLED, label: "sample" };
	return { record: (pass: Pass) => sample(pass, op), out: [mixed, codes] };
}

test.each(Object.entries(CASES))("%s gives the bits of the whole", async (_, make) => {
	const whole = await bits(gpu, make);
	expect(whole.flat().some((word) => word !== 0)).toBe(true);
	expect(await bits(small, make)).toEqual(whole);
});

describe("attention", () => {
	const [heads, headDim] = [2, 16];
	const width = heads * headDim;
	const attended =
		(variant: (typeof attentionVariants)[number], own: boolean): Case =>
		(bench) => {
			const qStride = own ? 3 * width : width;
			const [q, y, cached] = [x(bench, qStride), x(bench, width), x(bench, 2 * width, 320)];
			const kv = { tensor: cached, stride: 2 * width, key: 0, value: width };
			const op = {
				...{ q, qStride, kv, y, heads, headDim, scale: 0.25, variant, label: "attention" },
				own: own ? { key: width, value: 2 * width } : undefined,
			};
			return { record: (pass) => attention(pass, { ...op, rows: rowTable(pass, ROWS) }), out: [y] };
		};
	const fit = attentionVariants.filter(({ needs = [] }) => needs.every((name) => gpu.device.features.has(name)));
	test.each(fit)("by $name: keys come in shares, four at a time as ever", async (variant) => {
		for (const own of [false, true])
			expect(await bits(small, attended(variant, own))).toEqual(await bits(gpu, attended(variant, own)));
	});

	test("rotation, with the keys that are stored and positions of selected tokens", async () => {
		const make: Case = (bench) => {
			const [qkv, cache] = [x(bench, 3 * width), x(bench, 2 * width, 320)];
			const [cosSin, scaleMul] = [x(bench, headDim, 200), x(bench, heads, 1)];
			const selected = bench.put(Uint32Array.from({ length: 80 }, (_, i) => (i * 5) % 60)).tensor;
			const rows = ROWS.map((row, i) => ({ ...row, selected: i === 1 ? 4 : 0 }));
			const op = { qkv, cache, cosSin, scaleMul, selected, heads, headDim, label: "rope" };
			return { record: (pass) => rotateAndCache(pass, { ...op, rows: rowTable(pass, rows) }), out: [qkv, cache] };
		};
		expect(await bits(small, make)).toEqual(await bits(gpu, make));
	});
});

test("a convolution whose weight lies in parts gives the bits of the whole one", async () => {
	using bench = new Bench(gpu);
	const [inChannels, outChannels] = [8, 20];
	const images = [{ pixel: 0, height: 5, width: 6 }];
	const [input, bias, weight] = [bench.random(30, inChannels), bench.random(outChannels), bench.random(9 * 8, 20)];
	const part = (from: number, to: number): Tensor =>
		bench.put(
			Float32Array.from({ length: 72 * (to - from) }, (_, i) => {
				const columns = to - from;
				return weight.data[Math.floor(i / columns) * outChannels + from + (i % columns)];
			}),
			[72, to - from],
		).tensor;
	const parts = { ...part(0, 8), next: { ...part(8, 16), next: part(16, 20) } };
	const ys = [bench.empty(30, outChannels), bench.empty(30, outChannels)];
	const out = await bench.run(
		(pass) => {
			for (const [i, w] of [weight.tensor, parts].entries())
				conv3x3(pass, {
					...{ x: input.tensor, y: ys[i], weight: w, bias: bias.tensor },
					...{ images, inChannels, outChannels, label: "conv" },
				});
		},
		...ys,
	);
	expect(words(out[1])).toEqual(words(out[0]));
});

test("what is longer than a binding is refused where it is bound whole, and longer than a buffer everywhere", () => {
	expect(() => small.tensor("x", [TOKENS, WIDTH])).toThrow(OutOfMemoryError);
	const long = small.long("x", [TOKENS, WIDTH]);
	expect(long.bytes).toBe(4 * TOKENS * WIDTH);
	small.free(long);
	const none = new Gpu(gpu.device, gpu.facts, BINDING, BINDING);
	expect(() => none.long("x", [TOKENS, WIDTH])).toThrow(/has buffers of at most 8192/);
	using bench = new Bench(gpu);
	const pass = small.pass("seek");
	const rows = [{ ...SAMPLED[0], tokens: 100, temperature: { confidence: 0.5, between: [0.2, 3] as const } }];
	const op = { logits: x(bench), taus: bench.empty(2), choices: 12, values: 2, rows, label: "temperature" };
	expect(() => seekTemperature(pass, op)).toThrow(/logits of a row are \d+ bytes; this adapter binds at most 8192/);
	const wide = { ...norm, tokens: 2, width: 4096, weight: x(bench, 2048, 1) };
	expect(() => rmsNorm(pass, { x: x(bench, 4096, 2), y: x(bench, 4096, 2), ...wide })).toThrow(
		/rows of 16384 bytes are more than this adapter binds/,
	);
	const whole = { matrices: x(bench), rows: REDUCED, label: "rank" };
	expect(() => drawPositions(pass, { norms: whole.matrices, keys: x(bench), positions: x(bench), ...whole })).toThrow(
		/race for positions binds 12096 bytes; this adapter binds at most 8192/,
	);
});
