/** Every family by its name. A new one is a graph of its own and a line here. */
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Manifest } from "../../model-shards/format/manifest.ts";
import type { Graph } from "./family.ts";
import { HartGraph } from "./hart/graph.ts";
import { InfinityGraph } from "./infinity/graph.ts";
import type { Weights } from "./shared/weights.ts";
import { StarGraph } from "./star/graph.ts";
import { VarGraph } from "./var/graph.ts";

/** `instructions`: token ids that stand before every prompt, for families that have them. */
export function graphOf(
	gpu: Gpu,
	manifest: Manifest,
	weights: Weights,
	slots: number,
	instructions: readonly number[],
): Graph {
	const { schedules } = manifest;
	switch (manifest.family) {
		case "infinity":
			return new InfinityGraph(gpu, manifest.config, schedules, weights, slots);
		case "star":
			return new StarGraph(gpu, manifest.config, schedules, weights, slots);
		case "var":
			return new VarGraph(gpu, manifest.config, schedules, weights, slots);
		case "hart":
			return new HartGraph(gpu, manifest.config, schedules, weights, slots, instructions);
	}
}
