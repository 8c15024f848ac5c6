import { infinityRopeTable } from "../../../kernels/attention/rope.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Graph, GraphInput } from "../family.ts";
import { conditionTables } from "../shared/ada-ln.ts";
import { bsq } from "../shared/bsq.ts";
import { levelEmbedding } from "../shared/embedding.ts";
import { graphOf } from "../shared/graph.ts";
import { rotaryOf } from "../shared/rotary.ts";
import { infinitySublayers } from "./blocks.ts";
import type { InfinityConfig } from "./config.ts";
import { infinityHead } from "./head.ts";
import { infinityText, textTokens } from "./text.ts";

/**
 * The Infinity family (arXiv 2412.04431): text to bits; AdaLN from the pooled text, cross attention, rotary positions.
 */
export function infinityGraph(input: GraphInput<InfinityConfig>): Graph {
	const { config, facts, schedules, weights, slots } = input;
	const { width, heads, ropeReach, ropeSpread } = config;
	const headDim = width / heads;
	using scope = new Scope(input.gpu);
	const tables = conditionTables(scope, facts, slots);
	const rotary = rotaryOf(scope, schedules, headDim, (name, grids) =>
		infinityRopeTable(grids, headDim, ropeReach[name], ropeSpread),
	);
	return graphOf(scope, facts, {
		codes: bsq(config.bits, config.patchify),
		start: tables.start,
		embedding: levelEmbedding(weights.get("transformer.lvl_embed.weight")),
		/** Unconditional features are as many as the prompt has tokens. */
		contextKeys(subject) {
			const tokens = textTokens(config, subject);
			return [tokens, tokens];
		},
		texts: ({ ids, draws }) => (draws.has("text.feats") ? [] : [ids]),
		ropeAt: rotary.at,
		opened({ taps, plan, grids, tokens }) {
			const positions = tokens.reduce((sum, count) => sum + count, 0);
			const table = () => infinityRopeTable(grids, headDim, ropeReach[plan.schedule], ropeSpread);
			taps.give("rope.cache", [2, positions, headDim / 2], table);
		},
		begin: infinityText(scope, input, tables),
		sublayers: infinitySublayers({ ...input, shape: facts.shape, modulation: tables.modulation, rotary }),
		head: (pass, op) => infinityHead(pass, input, tables.head, op),
	});
}
