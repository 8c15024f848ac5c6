import type { Costs } from "../family.ts";
import { conditionFloats } from "../shared/ada-ln.ts";
import { ROWS } from "../shared/guidance.ts";
import { padded } from "../shared/padded.ts";
import { type VarConfig, varFacts } from "./config.ts";

/** Multiply-adds and floats; see tensors.ts for what is multiplied. */
export function varCosts(config: VarConfig): Costs {
	const { width: c, ffn, depth, adaln, tokens, codebook } = config;
	return {
		block: 4 * c * c + 2 * c * ffn,
		crossAttention: false,
		begin: 2 * c * c + (adaln === "block" ? depth : 1) * 6 * c * c,
		perText: 0,
		residual: 0,
		floats: {
			once: tokens * c + ROWS * 8 * c,
			slot: conditionFloats(varFacts(config)),
			cell: 0,
			slotCell: 2 * padded(codebook.channels),
		},
	};
}
