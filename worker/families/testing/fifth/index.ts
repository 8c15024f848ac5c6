/** The record of a made-up family: all that there is to adding one, but for its line in a list. */
import { z } from "zod";
import type { Described } from "../../checkpoints.ts";
import type { Family } from "../../family.ts";
import { conditionFloats } from "../../shared/ada-ln.ts";
import { codebookFromReference, readFields } from "../../shared/official.ts";
import { publishedSize } from "../../shared/published.ts";
import { Count } from "../../shared/schema.ts";
import { UNUSED } from "../../shared/tensors.ts";
import { FifthConfig, fifthFacts, fifthProblems } from "./config.ts";
import { fifthGraph } from "./graph.ts";
import { fifthTensors } from "./tensors.ts";

/** Fields of its checkpoints. */
const Fields = z.looseObject({ layers: Count, channels: Count, heads: Count, classes: Count, sides: z.array(Count) });

function fifthConfig(fields: unknown, vae: unknown): FifthConfig {
	const { layers, channels, heads, classes, sides } = readFields(Fields, fields, "transformer configuration");
	return {
		depth: layers,
		width: channels,
		heads,
		ffn: 2 * channels,
		classes,
		normEps: 1e-6,
		scales: sides.length,
		tokens: sides.reduce((sum, side) => sum + side ** 2, 0),
		...codebookFromReference(vae, sides.length),
	};
}

/** As its makers would publish it. */
export const FIELDS = { layers: 2, channels: 32, heads: 2, classes: 3, sides: [1, 2] };
export const VAE = { V: 16, Cvae: 8, ch: 32, dec_ch_mult: [1, 1], num_res_blocks: 1, share_quant_resi: 2 };
export const SMALL: Described<FifthConfig> = {
	name: "fifth-small",
	family: "fifth",
	config: fifthConfig(FIELDS, VAE),
	schedules: {
		"1:1": {
			grids: [
				[1, 1],
				[2, 2],
			],
			image: { height: 4, width: 4 },
		},
	},
	defaultSchedule: "1:1",
	sampling: { guidance: [1, 3], tau: 1, topK: 1, topP: 0 },
	licence: "Random weights.",
};

export const fifth: Family<FifthConfig> = {
	name: "fifth",
	config: FifthConfig,
	problems: fifthProblems,
	facts: fifthFacts,
	tensors: fifthTensors,
	unused: UNUSED,
	costs: (config) => ({
		block: 4 * config.width ** 2 + 2 * config.width * config.ffn,
		crossAttention: false,
		begin: (2 + 6 * config.depth) * config.width ** 2,
		perText: 0,
		residual: 0,
		floats: {
			once: config.tokens * config.width,
			slot: conditionFloats(fifthFacts(config)),
			cell: 0,
			slotCell: 2 * config.codebook.channels,
		},
	}),
	graph: fifthGraph,
	official: {
		config: ({ config, vae }) => fifthConfig(config, vae),
		kinds: { fifth: { ramp: true, rope: "first" } },
	},
	published: { sizes: ["small"], describe: (size) => ({ head: publishedSize("The fifth", { small: SMALL }, size) }) },
};
