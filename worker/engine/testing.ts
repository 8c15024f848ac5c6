/** What tests of the engine share: a model of random weights with pictures of very different sizes. */
import type { ModelFolder } from "../families/folder.ts";
import type { InfinityConfig } from "../families/infinity/config.ts";
import { randomModel } from "../families/testing/random-model.ts";

/**
 * An Infinity of two blocks whose schedule `large` ends on a grid of `side` x `side` and whose default one, `small`, on
 * 4 x 4, without a text encoder: give it `features`. Its decoder is tiny, so that a picture takes little but what its
 * rounds do.
 */
export function unevenModel(side: number, shape: Partial<InfinityConfig> = {}): ModelFolder {
	const config: InfinityConfig = {
		depth: 2,
		width: 16,
		heads: 2,
		ffn: 32,
		chunkBlocks: 1,
		textChannels: 16,
		textMaxTokens: 4,
		poolHeads: 2,
		bits: 64,
		normEps: 1e-6,
		ropeReach: { small: [64, 64], large: [64, 64] },
		vae: { baseChannels: 4, multipliers: [1], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
		textEncoder: null,
		...shape,
	};
	const schedule = (last: number) => ({
		grids: [1, 2, last].map((side): [number, number] => [side, side]),
		image: { height: last, width: last },
	});
	const described = {
		name: "uneven",
		family: "infinity" as const,
		config,
		schedules: { small: schedule(4), large: schedule(side) },
		defaultSchedule: "small",
		sampling: { guidance: 3, tau: 1, topK: 0, topP: 0 },
		licence: "Random weights.",
	};
	return randomModel(described, 1).folder;
}

/** Text features for it, of two tokens. */
export const features = (channels = 16): ReadonlyMap<string, Float32Array> =>
	new Map([["text.feats", Float32Array.from({ length: 2 * channels }, (_, i) => Math.sin(i))]]);
