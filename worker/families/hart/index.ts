/** HART (arXiv 2410.10812): VAR behind a text, with a residual from a small diffusion behind its codes. */
import type { Family } from "../family.ts";
import { UNUSED } from "../shared/tensors.ts";
import { HartConfig, hartFacts, hartProblems } from "./config.ts";
import { hartCosts } from "./costs.ts";
import { hartGraph } from "./graph.ts";
import { hartConfigFromReference } from "./official.ts";
import { published } from "./published.ts";
import { hartTensors } from "./tensors.ts";

export const hart: Family<HartConfig> = {
	name: "hart",
	config: HartConfig,
	problems: hartProblems,
	facts: hartFacts,
	tensors: hartTensors,
	unused: UNUSED,
	costs: hartCosts,
	graph: hartGraph,
	withText: (config, textEncoder) => ({ ...config, textEncoder }),
	official: {
		config: ({ config, vae }) => hartConfigFromReference(config, vae),
		kinds: {
			hart: { ramp: true, held: 1, rope: "kept", inputs: { context: "text.feats", "context.mask": "text.mask" } },
		},
	},
	published,
};
