import { expect, it } from "vitest";
import { hart } from "../../families/hart/index.ts";
import { publishedHart } from "../../families/hart/published.ts";
import { infinity } from "../../families/infinity/index.ts";
import { publishedInfinity } from "../../families/infinity/published.ts";
import { type ModelShape, shapeOf } from "../../families/model.ts";
import { square } from "../../families/shared/published.ts";
import { star } from "../../families/star/index.ts";
import { publishedStar } from "../../families/star/published.ts";
import { var_ } from "../../families/var/index.ts";
import { publishedVar } from "../../families/var/published.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { Reduction, RunStep, StagePlan } from "../../protocol/plan.ts";
import { conditioningFlops, decoderFlops, keyBytes, scaleCosts, transformerFlops, weightBytes } from "./flops.ts";

const schedule = square(256)["1:1"];
const d16 = publishedVar(16);
const hart07b = publishedHart("0.7b");
const infinityOf = (size: string) => shapeOf(infinity, publishedInfinity(size).config);
const models: [string, ModelShape, Schedule][] = [
	["VAR d16", shapeOf(var_, d16), schedule],
	["VAR d36", shapeOf(var_, publishedVar(36)), schedule],
	["STAR", shapeOf(star, publishedStar("256").config), schedule],
	["HART", shapeOf(hart, hart07b.config), hart07b.schedules["1:1"]],
	["Infinity 2B", infinityOf("2b"), publishedInfinity("2b").schedules["1:1"]],
	["Infinity 8B", infinityOf("8b"), publishedInfinity("8b").schedules["1:1"]],
];
const run = (rows: RunStep["rows"], reduce: Reduction[] = []): RunStep => ({
	kind: "run",
	stage: "semantic",
	rows,
	guidance: 3,
	tau: 1,
	topK: 0,
	topP: 0,
	reduce,
});
const plan = (steps: StagePlan["steps"]): StagePlan => ({
	version: 1,
	policy: "test",
	model: `sha256:${"0".repeat(64)}`,
	schedule: "1:1",
	steps,
});
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

it.each(models)("%s multiplies every matrix of its tensor list by every token it is for", (_, model, schedule) => {
	const { width, depth } = model.facts.shape;
	const sizes = (pattern: RegExp) =>
		model.wanted
			.filter(({ name, shape }) => shape.length === 2 && pattern.test(name))
			.reduce((sum, { shape }) => sum + size(shape), 0);
	const exact = plan(schedule.grids.map(() => run("both")));
	const text = model.family === var_ || model.family === hart ? 0 : 20;
	let keys = 0;
	const expected = schedule.grids.map(([height, side], scale) => {
		const codes = height * side;
		// HART's first scale is its text, which ends with the one code.
		const tokens = scale === 0 && model.family === hart ? hart07b.config.textMaxTokens : codes;
		keys += tokens;
		const perToken = sizes(/^transformer\.(block_chunks|blocks)\..*(mat_qkv|mat_q|proj|fc1|fc2)\.weight$/);
		const perCode =
			sizes(/^transformer\.head(_logits)?\.weight$/) +
			(scale === schedule.grids.length - 1
				? sizes(/cond_embed\.weight$/) +
					8 * (sizes(/diffloss.*(?<!embed\.mlp\.\d)\.weight$/) - sizes(/cond_embed\.weight$/))
				: 0);
		return (
			4 * (tokens * perToken + codes * perCode) +
			(scale > 0 ? 2 * codes * sizes(/^transformer\.word_embed\.weight$/) : 0) +
			8 * depth * tokens * width * (keys + text)
		);
	});
	expect(transformerFlops(model, schedule, exact, text)).toEqual(expected);
	const pooledText = sizes(
		/(text_proj_for_sos\.ca\.mat_kv|text_proj_for_ca\.\d|(?<!cross_attn\.)ca\.mat_kv|cross_attn\.mat_kv)\.weight$/,
	);
	expect(conditioningFlops(model, 7)).toBe(
		4 *
			(sizes(/(ada_lin\.1|encoder_proj|text_proj_for_sos\.ca\.proj)\.weight$/) +
				7 * pooledText +
				300 * sizes(/context_embed\.weight$/)),
	);
});

it("narrowed rows, spans and skips cost what is left, and keep what later scales read", () => {
	const span: Reduction = {
		blocks: [4, 10],
		each: "span",
		count: 9,
		take: { project: "gaussian" },
		rope: "kept",
		write: "norm-sampled",
		rest: { from: 6, resize: "area", of: "output" },
	};
	const model = shapeOf(var_, d16);
	const steps = schedule.grids.map((_, scale) =>
		scale === 9 ? ({ kind: "skip" } as const) : run(scale < 6 ? "both" : "uncond", scale === 8 ? [span] : []),
	);
	const costs = scaleCosts(model, schedule, plan(steps), 0);
	expect(costs[9]).toEqual({ tokens: 0, rows: 0, blockTokens: 0, flops: 0 });
	expect(costs[5]).toMatchObject({ tokens: 36, rows: 2, blockTokens: 2 * 36 * 16 });
	expect(costs[8]).toMatchObject({ tokens: 169, rows: 1, blockTokens: 10 * 169 + 6 * 9 });
	const { flops } = scaleCosts(
		model,
		schedule,
		plan(steps.map((step, scale) => (scale === 8 ? run("uncond") : step))),
		0,
	)[8];
	const c = d16.width;
	const before = [1, 2, 3, 4, 5, 6, 8, 10].reduce((sum, side) => sum + side ** 2, 0);
	const block = (tokens: number) => 2 * tokens * 12 * c * c + 4 * tokens * c * (before + tokens);
	expect(costs[8].flops).toBe(flops - 6 * (block(169) - block(9)) + 2 * 169 * 9 * c);
	const mixtures = (reduce: Reduction) =>
		scaleCosts(model, schedule, plan(steps.map((step, scale) => (scale === 8 ? run("uncond", [reduce]) : step))), 0)[8]
			.flops - costs[8].flops;
	expect(mixtures({ ...span, each: "block" } as Reduction)).toBe(5 * 2 * 169 * 9 * c);
	expect(
		mixtures({
			...span,
			each: "sublayer",
			take: { gather: "mean-distance" },
			write: "kept",
			rest: "residual",
		} as Reduction),
	).toBe(-2 * 169 * 9 * c);
	const skip = scaleCosts(
		model,
		schedule,
		plan(
			steps.map((step, scale) =>
				scale === 8
					? run("uncond", [
							{
								blocks: [0, 16],
								each: "span",
								count: 9,
								take: { gather: "mean-distance" },
								rope: "kept",
								write: "kept",
								rest: "skip",
							},
						])
					: step,
			),
		),
		0,
	)[8];
	expect(skip.flops).toBe(16 * block(9) + 2 * 169 * 32 * c + 2 * 9 * c * 4096);
	// The conditional row stops at scale 5, whose own keys nobody reads; the other one at scale 8.
	const stored = 16 * (1 + 4 + 9 + 16 + 25) + 16 * before;
	expect(keyBytes(model, schedule, plan(steps), 0)).toBe(stored * 2 * c * 4);
	expect(keyBytes(model, schedule, plan(steps), 0, "f16")).toBe(stored * 2 * c * 2);
	expect(keyBytes(shapeOf(star, publishedStar("256").config), schedule, plan(steps), 5)).toBe(
		30 * (55 + before + 10) * 2 * 1920 * 4,
	);
});

it("text guided by itself is read twice", () => {
	const config = publishedInfinity("2b").config;
	const { "1:1": schedule } = publishedInfinity("2b").schedules;
	const costs = (more: Partial<RunStep>) =>
		scaleCosts(
			shapeOf(infinity, config),
			schedule,
			plan(schedule.grids.map((_, scale) => (scale > 9 ? { ...run("cond"), ...more } : run("both")))),
			20,
		).map(({ flops }) => flops);
	const [plain, guided] = [costs({}), costs({ textGuidance: 1.5 })];
	expect(guided.map((flops, scale) => flops - plain[scale])).toEqual(
		schedule.grids.map(([height, width], scale) =>
			scale > 9 ? config.depth * 4 * height * width * config.width * 20 : 0,
		),
	);
});

it("the decoder works through every pixel of every level", () => {
	const vae = { baseChannels: 4, multipliers: [1, 2], residualBlocks: 1, normGroups: 4, normEps: 1e-6 };
	const pixels = 6;
	const conv = (pixels: number, from: number, to: number) => 2 * 9 * pixels * from * to;
	const plain =
		conv(pixels, 3, 8) +
		4 * conv(pixels, 8, 8) +
		4 * conv(pixels, 8, 8) +
		conv(4 * pixels, 8, 8) +
		conv(4 * pixels, 8, 4) +
		3 * conv(4 * pixels, 4, 4) +
		2 * 4 * pixels * 8 * 4 +
		conv(4 * pixels, 4, 3);
	const { config } = publishedInfinity("2b");
	expect(decoderFlops(shapeOf(infinity, { ...config, bits: 3, vae }), 2, 3)).toBe(plain);
	expect(decoderFlops(shapeOf(infinity, { ...config, bits: 3, vae, patchify: 2 }), 1, 1)).toBe((plain * 4) / 6);
	const attention = 2 * pixels * 8 * 32 + 4 * pixels * pixels * 8;
	expect(decoderFlops(shapeOf(var_, { ...d16, vae, codebook: { ...d16.codebook, channels: 3 } }), 2, 3)).toBe(
		plain + conv(pixels, 3, 3) + 3 * attention,
	);
});

it("weights take what their precision says", () => {
	const model = infinityOf("2b");
	const parameters = model.wanted.reduce((sum, { shape }) => sum + size(shape), 0);
	expect(weightBytes(model, "f32").stored).toBe(4 * parameters);
	expect(weightBytes(model, "f16").stored).toBe(2 * parameters);
	// Nearly all is matrices: a byte, or half, and a scale for 32 numbers, of two bytes in files and four on a device.
	expect(weightBytes(model, "int8").stored / parameters).toBeCloseTo(1 + 2 / 32, 1);
	expect(weightBytes(model, "int4").resident / parameters).toBeCloseTo(1 / 2 + 4 / 32, 0);
});
