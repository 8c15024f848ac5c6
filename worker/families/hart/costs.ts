import type { Costs } from "../family.ts";
import { conditionFloats } from "../shared/ada-ln.ts";
import { ROWS } from "../shared/guidance.ts";
import { promptFloats } from "../text/prompt-features.ts";
import { type HartConfig, hartFacts } from "./config.ts";

/** Multiply-adds and floats; see tensors.ts for what is multiplied. */
export function hartCosts(config: HartConfig): Costs {
	const { width: c, ffn, textChannels: t, textMaxTokens: tokens, textEncoder } = config;
	const {
		codebook: { channels },
		residual: { width: w, depth: blocks, steps },
	} = config;
	const { modulation = "table", feedForward = "swiglu", depth } = config;
	const maps = modulation === "map-mean" || modulation === "map-max" ? depth * 6 * c * c : 0;
	return {
		block: 4 * c * c + (feedForward === "gelu" ? 2 : 3) * c * ffn,
		crossAttention: false,
		begin: 2 * c * c + tokens * t * c + maps,
		perText: 0,
		residual: c * w + steps * (channels * w + blocks * 5 * w * w + 2 * w * w + 2 * channels * w),
		floats: {
			once: ROWS * (tokens * (2 * t + c) + (maps > 0 ? 10 : 4) * c) + promptFloats(textEncoder),
			slot: conditionFloats(hartFacts(config)),
			cell: ROWS * (8 * w + 5 * channels),
			slotCell: 2 * channels,
			position: 2,
		},
	};
}
