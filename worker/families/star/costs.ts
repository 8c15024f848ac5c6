import type { Costs } from "../family.ts";
import { ROWS } from "../shared/guidance.ts";
import { padded } from "../shared/padded.ts";
import { promptFloats } from "../text/prompt-features.ts";
import type { StarConfig } from "./config.ts";

/** Multiply-adds and floats; see tensors.ts for what is multiplied. */
export function starCosts(config: StarConfig): Costs {
	const { width: c, heads, ffn, depth, textChannels: t, textMaxTokens, codebook, textEncoder } = config;
	const { crossAttention = true, startTokens = 1 } = config;
	return {
		block: (crossAttention ? 6 : 4) * c * c + 2 * c * ffn,
		crossAttention,
		begin: t * c,
		perText: crossAttention ? depth * 2 * t * c : 0,
		residual: 0,
		floats: {
			once: ROWS * textMaxTokens * (t + 2 * c) + ROWS * (t + c) + 2 * c + promptFloats(textEncoder),
			slot: ROWS * startTokens * c,
			cell: 0,
			slotCell: 2 * padded(codebook.channels),
			position: c / heads,
		},
	};
}
