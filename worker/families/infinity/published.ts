/**
 * The published Infinity checkpoints (FoundationVision/Infinity), as data: what their files do not say themselves.
 * Sizes are those of the official inference scripts; every one takes Flan-T5-XL features.
 */

import type { z } from "zod";
import type { Sampling, Schedule } from "../../protocol/model-info.ts";
import type { Published } from "../checkpoints.ts";
import { ASPECTS } from "../shared/aspect.ts";
import { publishedSize } from "../shared/published.ts";
import type { VaeConfig } from "../shared/vae.ts";
import type { InfinityConfig } from "./config.ts";

/** The BSQ tokenizers by the name in their file, `infinity_vae_NAME.pth`. */
export const TOKENIZERS = {
	d16: { bits: 16, patch: 16 },
	d24: { bits: 24, patch: 16 },
	d32: { bits: 32, patch: 16 },
	d32reg: { bits: 32, patch: 16 },
	d64: { bits: 64, patch: 16 },
	d56_f8_14_patchify: { bits: 14, patch: 8 },
} as const;

interface Size {
	/** The checkpoint's name where it is published. */
	file: string;
	depth: number;
	width: number;
	heads: number;
	chunks: number;
	tokenizer: keyof typeof TOKENIZERS;
	/** Scales of a picture: 7 for 0.06, 10 for 0.25, 13 for 1 megapixel. */
	scales: 7 | 10 | 13;
	sampling: z.infer<typeof Sampling>;
}

const PUBLISHED: Readonly<Record<string, Size>> = {
	"125m": {
		file: "infinity_125M_256x256.pth",
		depth: 12,
		width: 768,
		heads: 8,
		chunks: 4,
		tokenizer: "d16",
		scales: 7,
		sampling: { guidance: 4, tau: 0.5, topK: 0, topP: 0.97 },
	},
	"2b": {
		file: "infinity_2b_reg.pth",
		depth: 32,
		width: 2048,
		heads: 16,
		chunks: 8,
		tokenizer: "d32reg",
		scales: 13,
		sampling: { guidance: 4, tau: 0.5, topK: 0, topP: 0.97 },
	},
	"8b": {
		file: "infinity_8b_weights",
		depth: 40,
		width: 3584,
		heads: 28,
		chunks: 8,
		tokenizer: "d56_f8_14_patchify",
		scales: 13,
		sampling: { guidance: 3, tau: 1, topK: 0, topP: 0.97 },
	},
	"8b-512": {
		file: "infinity_8b_512x512_weights",
		depth: 40,
		width: 3584,
		heads: 28,
		chunks: 8,
		tokenizer: "d56_f8_14_patchify",
		scales: 10,
		sampling: { guidance: 3, tau: 1, topK: 0, topP: 0.97 },
	},
};

export const published: Published<InfinityConfig> = {
	sizes: Object.keys(PUBLISHED),
	describe(size) {
		const licence = "MIT (FoundationVision/Infinity)";
		return { head: { ...publishedInfinity(size), family: "infinity", defaultSchedule: "1:1", licence } };
	},
};

/**
 * The configuration and schedules of a published size; `size` in any case, as `125M`. Throws ModelFormatError for an
 * unknown one.
 */
export function publishedInfinity(size: string): {
	name: string;
	config: InfinityConfig;
	schedules: Record<string, Schedule>;
	sampling: z.infer<typeof Sampling>;
} {
	const { depth, width, heads, chunks, tokenizer, scales, sampling } = publishedSize("Infinity", PUBLISHED, size);
	const { bits, patch } = TOKENIZERS[tokenizer];
	const config: InfinityConfig = {
		depth,
		width,
		heads,
		ffn: Math.round((width * 4) / 256) * 256,
		chunkBlocks: depth / chunks,
		textChannels: 2048,
		textMaxTokens: 512,
		poolHeads: 16,
		bits,
		...(patch === 8 && { patchify: 2 as const }),
		normEps: 1e-6,
		ropeReach: Object.fromEntries(ASPECTS.map(({ name, reach }) => [name, reach])),
		vae: tokenizerConfig(tokenizer),
		textEncoder: null,
	};
	const schedules = Object.fromEntries(
		ASPECTS.map(({ name, grids }) => {
			const [height, width] = grids[scales - 1];
			return [name, { grids: grids.slice(0, scales), image: { height: height * 16, width: width * 16 } }];
		}),
	);
	return { name: `infinity-${size.toLowerCase()}`, config, schedules, sampling };
}

/** The decoder of a published tokenizer. */
export function tokenizerConfig(name: keyof typeof TOKENIZERS): VaeConfig {
	return {
		baseChannels: 128,
		multipliers: TOKENIZERS[name].patch === 8 ? [1, 2, 4, 4] : [1, 2, 4, 4, 4],
		residualBlocks: 2,
		normGroups: 32,
		normEps: 1e-6,
	};
}
