import type { Costs } from "../family.ts";
import { ROWS } from "../shared/guidance.ts";
import { promptFloats } from "../text/prompt-features.ts";
import type { StarConfig } from "./config.ts";

/** Multiply-adds and floats; see tensors.ts for what is multiplied. */
export function starCosts(config: StarConfig): Costs {
	const { width: c, ffn, depth, textChannels: t, textMaxTokens, codebook, textEncoder } = config;
	return {
		block: 6 * c * c + 2 * c * ffn,
		crossAttention: true,
		begin: t * c,
		perText: depth * 2 * t * c,
		residual: 0,
		floats: {
			once: ROWS * textMaxTokens * (t + 2 * c) + ROWS * (t + c) + 2 * c + promptFloats(textEncoder),
			slot: ROWS * c,
			cell: 0,
			slotCell: 2 * codebook.channels,
		},
	};
}
