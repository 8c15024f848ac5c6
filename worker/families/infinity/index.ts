/** Infinity (arXiv 2412.04431): text to bits, next scale by next scale. */
import type { Family } from "../family.ts";
import { either, UNUSED } from "../shared/tensors.ts";
import { InfinityConfig, infinityFacts, infinityProblems } from "./config.ts";
import { infinityCosts } from "./costs.ts";
import { infinityGraph } from "./graph.ts";
import { infinityConfigFromReference, KINDS } from "./official.ts";
import { published } from "./published.ts";
import { infinityTensors } from "./tensors.ts";

export const infinity: Family<InfinityConfig> = {
	name: "infinity",
	config: InfinityConfig,
	problems: infinityProblems,
	facts: infinityFacts,
	tensors: infinityTensors,
	// Norms without weights of their own hold ones, and old files the bounds of a training mask.
	unused: either(UNUSED, /\.ln_wo_grad\.weight$|^transformer\.Infinity_(visible_kvlen|invisible_qlen)$/),
	costs: infinityCosts,
	graph: infinityGraph,
	withText: (config, textEncoder) => ({ ...config, textEncoder }),
	official: {
		config: ({ config, vae, shapes, reach }) => infinityConfigFromReference(config, vae, shapes, reach),
		kinds: KINDS,
	},
	published,
};
