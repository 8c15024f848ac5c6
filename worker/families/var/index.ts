/** VAR (arXiv 2404.02905): a class to codes of a vocabulary, next scale by next scale. */
import type { Family } from "../family.ts";
import { UNUSED } from "../shared/tensors.ts";
import { VarConfig, varFacts, varProblems } from "./config.ts";
import { varCosts } from "./costs.ts";
import { varGraph } from "./graph.ts";
import { varConfigFromReference } from "./official.ts";
import { published } from "./published.ts";
import { varTensors } from "./tensors.ts";

export const var_: Family<VarConfig> = {
	name: "var",
	config: VarConfig,
	problems: varProblems,
	facts: varFacts,
	tensors: varTensors,
	unused: UNUSED,
	costs: varCosts,
	graph: varGraph,
	official: {
		config: ({ config, vae }) => varConfigFromReference(config, vae),
		kinds: { var: { ramp: true, rope: "first" } },
	},
	published,
};
