/** STAR (arXiv 2406.10797): VAR drawing text. */
import type { Family } from "../family.ts";
import { either, UNUSED } from "../shared/tensors.ts";
import { StarConfig, starFacts, starProblems } from "./config.ts";
import { starCosts } from "./costs.ts";
import { starGraph } from "./graph.ts";
import { starConfigFromReference } from "./official.ts";
import { published } from "./published.ts";
import { starTensors } from "./tensors.ts";

export const star: Family<StarConfig> = {
	name: "star",
	config: StarConfig,
	problems: starProblems,
	facts: starFacts,
	tensors: starTensors,
	// It inherits a class embedding, and does not look at it.
	unused: either(UNUSED, /^transformer\.class_emb\./),
	costs: starCosts,
	graph: starGraph,
	withText: (config, textEncoder) => ({ ...config, textEncoder }),
	official: {
		config: ({ config, vae }) => starConfigFromReference(config, vae),
		kinds: { star: { ramp: true, rope: "kept" }, "stagevar-star": { ramp: true, rope: "kept" } },
	},
	published,
};
