/**
 * The published VAR checkpoints (FoundationVision/VAR), as data, and what they share with STAR and HART: token maps and
 * the picture tokenizer, `vae_ch160v4096z32.pth`.
 */

import type { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/manifest.ts";
import { UNUSED } from "../../../model-shards/import/model.ts";
import type { Family } from "../../../model-shards/import/published.ts";
import type { Sampling, Schedule } from "../../protocol/model-info.ts";
import type { VaeConfig } from "../infinity/config.ts";
import type { CodebookConfig, VarConfig } from "./config.ts";
import { varTensors } from "./tensors.ts";

/** Side lengths of the token maps, by the side of the picture. */
export const SIDES = {
	256: [1, 2, 3, 4, 5, 6, 8, 10, 13, 16],
	512: [1, 2, 3, 4, 6, 9, 13, 18, 24, 32],
	1024: [1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64],
} as const;

/** The one schedule of a model that draws squares of this side. */
export function square(side: keyof typeof SIDES): Record<string, Schedule> {
	return { "1:1": { grids: SIDES[side].map((side) => [side, side]), image: { height: side, width: side } } };
}

export const TOKENIZER: { codebook: CodebookConfig; vae: VaeConfig } = {
	codebook: { vocabulary: 4096, channels: 32, phis: 4 },
	vae: { baseChannels: 160, multipliers: [1, 1, 2, 2, 4], residualBlocks: 2, normGroups: 32, normEps: 1e-6 },
};

/**
 * `var_dN.pth` by its depth. d36, which the release also calls d36-s, draws 512 pixels with shared AdaLN, the others
 * 256.
 */
const SIZES = { d16: 16, d20: 20, d24: 24, d30: 30, d36: 36 } as const;
type Depth = (typeof SIZES)[keyof typeof SIZES];

/** The official demo's. */
const SAMPLING: z.infer<typeof Sampling> = { guidance: [1, 5], tau: 1, topK: 900, topP: 0.95 };

const sideOf = (depth: Depth) => (depth === 36 ? 512 : 256);

/** Width and heads follow from the depth. */
export function publishedVar(depth: Depth): VarConfig {
	const sides = SIDES[sideOf(depth)];
	return {
		depth,
		width: 64 * depth,
		heads: depth,
		ffn: 256 * depth,
		classes: 1000,
		adaln: depth === 36 ? "shared" : "block",
		normalised: true,
		normEps: 1e-6,
		scales: sides.length,
		tokens: sides.reduce((sum, side) => sum + side ** 2, 0),
		...TOKENIZER,
	};
}

export const var_: Family = {
	sizes: Object.keys(SIZES),
	describe(size) {
		const depth = Object.entries(SIZES).find(([name]) => name === size.toLowerCase())?.[1];
		if (!depth)
			throw new ModelFormatError(`VAR was not published in size ${size}. There are: ${Object.keys(SIZES).join(", ")}.`);
		const config = publishedVar(depth);
		const { tokens } = config;
		return {
			head: {
				name: `var-d${depth}`,
				family: "var",
				config,
				schedules: square(sideOf(depth)),
				defaultSchedule: "1:1",
				sampling: SAMPLING,
				licence: "MIT (FoundationVision/VAR)",
			},
			wanted: varTensors(config),
			parts: ["transformer.", "vae."],
			unused: UNUSED,
			unread: [
				{ name: "transformer.lvl_1L", shape: [1, tokens] },
				{ name: "transformer.attn_bias_for_masking", shape: [1, 1, tokens, tokens] },
			],
		};
	},
};
