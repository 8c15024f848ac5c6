/**
 * How time and memory of a picture grow: with its tokens, with pictures made together, with the prompt. A narrow model
 * of random weights, so that even the largest grid runs on a CPU.
 */
import type { AdapterFacts } from "../../kernels/gpu/facts.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openModel } from "../../worker/engine/open.ts";
import { infinity } from "../../worker/families/infinity/index.ts";
import { configOf } from "../../worker/families/model.ts";
import { policies } from "../../worker/policies/index.ts";
import type { Watch } from "./measure.ts";
import { type Dimensions, SIDES as GRIDS, randomFloats, randomInfinity } from "./random-model.ts";

export interface GrowthPoint {
	/** Tokens of all scales, pictures, or tokens of the prompt. */
	size: number;
	/** Of the transformer over all scales, of all pictures together: the least of the rounds. */
	milliseconds: number;
	/** On the device beside the weights, at most. */
	bytes: number;
}
export interface Growth {
	of: "tokens of a picture" | "pictures together" | "tokens of the prompt";
	points: GrowthPoint[];
}
export interface GrowthReport {
	adapter: AdapterFacts;
	dimensions: Dimensions & { depth: number };
	growths: Growth[];
}

/** Sides of the last grid, pictures together, tokens of the prompt. */
export interface GrowthSizes {
	sides: readonly number[];
	pictures: readonly number[];
	prompts: readonly number[];
}

const NARROW: Dimensions = { width: 64, heads: 1, ffn: 256, bits: 16 };
const DEPTH = 2;
export const GROWTH_SIZES: GrowthSizes = {
	sides: [4, 8, 16, 24, 32, 48, 64],
	pictures: [1, 2, 4, 8, 16],
	prompts: [4, 16, 64, 256, 512],
};
/** What stays the same while another thing grows. */
const USUAL = { side: 16, pictures: 1, prompt: 24 };
const ROUNDS = 3;
/** What takes longer is timed once. */
const LONG_MS = 3000;

/** Every size in turn. */
export async function benchGrowth(
	gpu: Gpu,
	{ sides, pictures, prompts }: GrowthSizes = GROWTH_SIZES,
	{ signal, progress }: Watch = {},
): Promise<GrowthReport> {
	let done = 0;
	const total = sides.length + pictures.length + prompts.length;
	const point = async (size: number, setting: Partial<Setting>): Promise<GrowthPoint> => {
		progress?.(done++, total);
		return { size, ...(await measured(gpu, { ...USUAL, ...setting }, signal)) };
	};
	const growths: Growth[] = [
		{ of: "tokens of a picture", points: [] },
		{ of: "pictures together", points: [] },
		{ of: "tokens of the prompt", points: [] },
	];
	const [byTokens, byPictures, byPrompt] = growths;
	for (const side of sides) byTokens.points.push(await point(tokensTo(side), { side }));
	for (const count of pictures) byPictures.points.push(await point(count, { pictures: count }));
	for (const prompt of prompts) byPrompt.points.push(await point(prompt, { prompt }));
	progress?.(total, total);
	return { adapter: gpu.facts, dimensions: { ...NARROW, depth: DEPTH }, growths };
}

interface Setting {
	side: number;
	pictures: number;
	prompt: number;
}

const gridsTo = (most: number) => GRIDS.filter((side) => side <= most);
const tokensTo = (most: number) => gridsTo(most).reduce((sum, side) => sum + side ** 2, 0);

async function measured(gpu: Gpu, { side, pictures, prompt }: Setting, signal?: AbortSignal) {
	const folder = randomInfinity(NARROW, DEPTH, gridsTo(side));
	const model = await openModel(gpu, folder, { slots: pictures });
	try {
		const held = gpu.bytes;
		const plan = policies.exact.plan(model.info, {});
		await model.compile([plan]);
		const draws = new Map([["text.feats", randomFloats(prompt * configOf(folder, infinity).textChannels, 2)]]);
		let bytes = 0;
		const make = async (seed: number) => {
			let milliseconds = 0;
			for await (const result of model.generate({ plan, prompt: "", seed, previews: "none", draws, signal })) {
				if (result.kind === "scale") milliseconds += result.milliseconds.transformer;
				bytes = Math.max(bytes, gpu.bytes - held);
			}
			return milliseconds;
		};
		// Rounds are shared: each picture's are all that there were. The first ones warm up.
		const all = async () => Math.max(...(await Promise.all(Array.from({ length: pictures }, (_, i) => make(i)))));
		await all();
		let milliseconds = Infinity;
		for (let round = 1; round < ROUNDS && (round === 1 || milliseconds < LONG_MS); round++)
			milliseconds = Math.min(milliseconds, await all());
		return { milliseconds, bytes };
	} finally {
		model.destroy();
	}
}
