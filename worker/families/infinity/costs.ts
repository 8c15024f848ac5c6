import type { Costs } from "../family.ts";
import { conditionFloats } from "../shared/ada-ln.ts";
import { promptFloats } from "../text/prompt-features.ts";
import { type InfinityConfig, infinityFacts } from "./config.ts";
import { textFloats } from "./text.ts";

/** Multiply-adds and floats; see tensors.ts for what is multiplied. */
export function infinityCosts(config: InfinityConfig): Costs {
	const { width: c, heads, ffn, depth, textChannels: t, adaln, feedForward } = config;
	return {
		block: 6 * c * c + (feedForward === "swiglu" ? 3 : 2) * c * ffn,
		crossAttention: true,
		begin: (adaln === "block" ? 3 + 6 * depth : 9) * c * c,
		perText: 3 * t * c + c * c + depth * 2 * c * c,
		residual: 0,
		floats: {
			once: textFloats(config) + promptFloats(config.textEncoder),
			slot: conditionFloats(infinityFacts(config)),
			cell: 0,
			slotCell: 0,
			position: c / heads,
		},
	};
}
