/** The published VAR checkpoints (FoundationVision/VAR), as data. */

import type { z } from "zod";
import { plain } from "../../../model-shards/format/tensor-shapes.ts";
import type { Sampling } from "../../protocol/model-info.ts";
import type { Published } from "../checkpoints.ts";
import { publishedSize, SIDES, square, TOKENIZER } from "../shared/published.ts";
import type { VarConfig } from "./config.ts";

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

export const published: Published<VarConfig> = {
	sizes: Object.keys(SIZES),
	describe(size) {
		const depth = publishedSize("VAR", SIZES, size);
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
			unread: [
				plain("transformer.lvl_1L", 1, tokens),
				plain("transformer.attn_bias_for_masking", 1, 1, tokens, tokens),
			],
		};
	},
};
