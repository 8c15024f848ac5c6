import type { Shapes } from "../../kernels/index.ts";
import { halves } from "../../model-shards/format/layout.ts";
import type { Facts } from "../families/family.ts";
import type { Model } from "../families/model.ts";
import { ROWS } from "../families/shared/guidance.ts";
import { padded } from "../families/shared/padded.ts";
import type { Schedules } from "../families/shared/schedules.ts";
import type { Dtype } from "../families/shared/weights.ts";
import { anatomyOf } from "../families/text/anatomy.ts";

type Mutable<T> = { -readonly [K in keyof T]-?: NonNullable<T[K]> extends readonly (infer E)[] ? E[] : never };

/**
 * The shapes of the heavy operators in pictures of every schedule with both guidance rows: what kernels are tuned and
 * measured at. The first of a shape class speaks for it. Every matrix is there at every class of rows up to the most
 * that its part of the model can have: which of them multiplies what is the graph's to know. `dtype`: of the weights.
 */
export function kernelShapes(model: Model, dtype: Dtype = "f32"): Shapes {
	const { facts, costs, manifest } = model;
	const { width, heads } = facts.shape;
	const headDim = width / heads;
	const scales = scalesOf(facts, manifest.schedules);
	const text = facts.text?.maxTokens ?? 0;
	const shapes: Mutable<Shapes> = { matmul: [], conv: [], attention: [], sequenceAttention: [] };

	const rows = [...scales.map(({ tokens }) => ROWS * tokens), ROWS * text];
	shapes.matmul.push(...products(model, "transformer.", rows, dtype));
	for (const { tokens, keys } of scales) {
		shapes.attention.push({ rows: ROWS, tokens, keys, heads, headDim, own: true });
		if (costs.crossAttention) shapes.attention.push({ rows: ROWS, tokens, keys: text, heads, headDim, own: false });
	}
	const { encoder, poolHeads } = facts.text ?? {};
	if (poolHeads)
		shapes.attention.push({
			rows: ROWS,
			tokens: 1,
			keys: text,
			heads: poolHeads,
			headDim: width / poolHeads,
			own: false,
		});
	if (encoder) {
		const { headDim, kvHeads, causal } = anatomyOf(encoder);
		shapes.matmul.push(...products(model, "text_encoder.", [encoder.maxTokens], dtype));
		for (const tokens of classes([encoder.maxTokens]))
			shapes.sequenceAttention.push({ tokens, heads: encoder.heads, kvHeads, headDim, causal });
	}
	const cells = largestGrids(manifest.schedules).map(([height, side]) => height * side * facts.codes.patch ** 2);
	// Pointwise convolutions run at every level's size, the largest of which stand for no class of their own.
	const levels = 4 ** (facts.decoder.config.multipliers.length - 1);
	const pixels = Math.min(LARGEST_CLASS, levels * cells[0]);
	shapes.matmul.push(...products(model, "vae.", [...cells, pixels], dtype));
	for (const grid of largestGrids(manifest.schedules)) shapes.conv.push(...convolutions(facts, grid));
	return shapes;
}

/** x [m, k] times every matrix of a part of the model, each shape once. */
function products({ wanted, manifest }: Model, part: string, rows: readonly number[], dtype: Dtype) {
	const stored = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
	const matrices = wanted.flatMap((tensor) => {
		const { name, layout, shape } = tensor;
		if (layout !== "matrix" || !name.startsWith(part)) return [];
		const half = dtype === "f16" && !stored.get(name)?.quantization && halves(tensor);
		return [{ k: padded(shape[1]), n: padded(shape[0]), half }];
	});
	const distinct = [...new Map(matrices.map((matrix) => [JSON.stringify(matrix), matrix])).values()];
	return classes(rows).flatMap((m) => distinct.map((matrix) => ({ m, ...matrix })));
}

/** Of the picture decoder on a latent of a schedule's last grid. */
function* convolutions({ codes, decoder }: Facts, [height, width]: readonly [number, number]) {
	const { config, attentive } = decoder;
	const widths = config.multipliers.map((multiplier) => multiplier * config.baseChannels);
	const last = widths.length - 1;
	const at = (level: number) => {
		const scale = codes.patch * 2 ** (last - level);
		return { height: height * scale, width: width * scale };
	};
	yield { ...at(0), inChannels: widths[0], outChannels: 4 };
	for (const [level, outChannels] of widths.entries()) {
		yield { ...at(level), inChannels: outChannels, outChannels };
		if (level === last) break;
		const inChannels = widths[level + 1];
		yield { ...at(level), inChannels, outChannels };
		yield { ...at(level), inChannels, outChannels: inChannels, upsample: true };
	}
	yield { ...at(last), inChannels: codes.channels, outChannels: widths[last] };
	if (attentive) yield { ...at(last), inChannels: codes.channels, outChannels: codes.channels };
}

/** Row counts from here on are of one class (`bucket`). */
const LARGEST_CLASS = 1024;

/** Counts, most first, and one of every class below the largest. */
function classes(counts: readonly number[]): number[] {
	const most = Math.max(...counts);
	const powers = Array.from({ length: Math.ceil(Math.log2(most)) }, (_, power) => 2 ** power);
	return [...new Set([...counts, ...powers])].filter((count) => count > 0).sort((a, b) => b - a);
}

/** Tokens of every scale of every schedule, each with the most keys that it sees; most tokens first. */
function scalesOf({ startTokens }: Facts, schedules: Schedules): { tokens: number; keys: number }[] {
	const most = new Map<number, number>();
	for (const { grids } of Object.values(schedules)) {
		let keys = 0;
		for (const [scale, [height, width]] of grids.entries()) {
			const tokens = scale === 0 ? startTokens : height * width;
			keys += tokens;
			most.set(tokens, Math.max(keys, most.get(tokens) ?? 0));
		}
	}
	return [...most].map(([tokens, keys]) => ({ tokens, keys })).sort((a, b) => b.tokens - a.tokens);
}

/** The last grids of all schedules, each size once; the largest first. */
function largestGrids(schedules: Schedules): (readonly [height: number, width: number])[] {
	const grids = Object.values(schedules).map(({ grids }) => grids[grids.length - 1]);
	const sizes = new Map(grids.map((grid) => [grid[0] * grid[1], grid]));
	return [...sizes.values()].sort(([a, b], [c, d]) => c * d - a * b);
}
