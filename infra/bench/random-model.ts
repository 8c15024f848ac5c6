/**
 * Models of published shapes with random weights: the engine loads and runs them like any other, so that times by scale
 * can be had without a checkpoint.
 */

import type { ModelTensor } from "../../model-shards/format/folder.ts";
import type { Manifest } from "../../model-shards/format/manifest.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import type { InfinityConfig } from "../../worker/families/infinity/config.ts";
import { infinityTensors } from "../../worker/families/infinity/tensors.ts";
import { modelInfo, modelOf } from "../../worker/families/model.ts";
import { NO_DIGEST } from "../../worker/families/planned.ts";
import type { TextEncoderConfig } from "../../worker/families/text/config.ts";

/** Of the grids at 1024x1024. */
export const SIDES: readonly number[] = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64];
const SCHEDULE = "1:1";

/** What the shapes of the family differ in. */
export interface Dimensions {
	width: number;
	heads: number;
	ffn: number;
	/** Of a token's code. */
	bits: number;
	/** Left out: features are given. */
	textEncoder?: TextEncoderConfig;
}
export const INFINITY_125M: Dimensions = { width: 768, heads: 8, ffn: 3072, bits: 16 };
export const INFINITY_2B: Dimensions = { width: 2048, heads: 16, ffn: 8192, bits: 32 };
export const INFINITY_8B: Dimensions = { width: 3584, heads: 28, ffn: 14336, bits: 56 };

/**
 * Infinity at 1024x1024 with `depth` blocks. The decoder is a token one: it is not run. StageVAR's published setting
 * (arXiv 2512.16483, threshold 0.96): text-free from width 40 on, low rank at width 40, 48 and 64 skipped. Every chunk
 * gets the mean of the published eight ratios, so that a part of the blocks costs its share of all. `sides`: of other
 * grids, which those settings are not for.
 */
export function randomInfinity(
	{ width, heads, ffn, bits, textEncoder }: Dimensions,
	depth: number,
	sides = SIDES,
): ModelFolder {
	const largest = sides[sides.length - 1];
	const chunkBlocks = depth % 4 === 0 ? 4 : depth;
	const ratios = [0.0168, 0.1365, 0.2104, 0.2503, 0.2559, 0.1979, 0.157, 0.1909];
	const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
	const config: InfinityConfig = {
		depth,
		width,
		heads,
		ffn,
		chunkBlocks,
		textChannels: 2048,
		textMaxTokens: 512,
		poolHeads: heads,
		bits,
		normEps: 1e-6,
		ropeReach: { [SCHEDULE]: [largest, largest] },
		vae: { baseChannels: 4, multipliers: [1, 1, 1, 1, 1], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
		textEncoder: textEncoder ?? null,
	};
	const manifest: Manifest = {
		format: "firstlight-model",
		version: 1,
		name: `infinity-random-${width}-${depth}`,
		family: "infinity",
		config,
		schedules: {
			[SCHEDULE]: {
				grids: sides.map((side) => [side, side]),
				image: { height: 16 * largest, width: 16 * largest },
			},
		},
		defaultSchedule: SCHEDULE,
		sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
		tokenizer: null,
		licence: "Random weights.",
		shards: [],
		tensors: infinityTensors(config).map(({ name, shape }) => ({
			name,
			dtype: "F32",
			shape,
			shard: 0,
			offset: 0,
			bytes: 4 * count(shape),
		})),
	};
	const model = modelOf(manifest);
	const rankRatio = { 10: Array.from({ length: depth / chunkBlocks }, () => mean) };
	const calibration = sides === SIDES && {
		[SCHEDULE]: {
			structureFrom: 6,
			fidelityFrom: 10,
			measured: {
				skipFrom: 11,
				guidanceTo: 10,
				earlyTau: 0.4,
				rankRatio,
				detailRatio: {},
				look: { after: 9, from: 10, hold: 0.9 },
				detail: [0, 0],
			},
		},
	};
	return {
		...model,
		dir: "",
		digest: NO_DIGEST,
		info: { ...modelInfo(model, NO_DIGEST), ...(calibration && { calibration }) },
		tokenizer: null,
		tensors: () => randomTensors(manifest),
	};
}

/** Norms that change nothing, matrices that keep the size of what they multiply, small vectors. */
export async function* randomTensors({ tensors }: Pick<Manifest, "tensors">): AsyncGenerator<ModelTensor, void, void> {
	const noise = randomFloats(1 << 20, 1);
	for (const { name, dtype, shape } of tensors) {
		const data = new Float32Array(count(shape));
		const deviation = shape.length >= 2 ? (count(shape) / shape[0]) ** -0.5 : 0.02;
		if (/norm[^.]*\.weight$/.test(name)) data.fill(1);
		else
			for (let i = 0; i < data.length; i += noise.length)
				data.set(
					noise.subarray(0, data.length - i).map((value) => value * deviation),
					i,
				);
		yield { name, dtype, shape, bytes: new Uint8Array(data.buffer) };
	}
}

/** Uniform with deviation 1, the same for the same seed. */
export function randomFloats(length: number, seed: number): Float32Array<ArrayBuffer> {
	let state = seed;
	return Float32Array.from({ length }, () => {
		state = (Math.imul(state, 1664525) + 1013904223) | 0;
		return (((state >>> 8) / 2 ** 24) * 2 - 1) * Math.sqrt(3);
	});
}

const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
