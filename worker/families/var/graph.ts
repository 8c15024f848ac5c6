import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Graph, GraphInput } from "../family.ts";
import { adaLnHead, conditionTables } from "../shared/ada-ln.ts";
import { classConditioning } from "../shared/class.ts";
import { positionEmbedding } from "../shared/embedding.ts";
import { graphOf } from "../shared/graph.ts";
import { latentCells } from "../shared/schedules.ts";
import { vectorQuantiser } from "../shared/vector-quantiser.ts";
import { varSublayers } from "./blocks.ts";
import type { VarConfig } from "./config.ts";

/**
 * VAR (arXiv 2404.02905): a class to codes of a vocabulary; AdaLN from the class embedding, learned absolute positions.
 */
export function varGraph(input: GraphInput<VarConfig>): Graph {
	const { config, facts, schedules, weights, slots } = input;
	using scope = new Scope(input.gpu);
	const tables = conditionTables(scope, facts, slots);
	const norm = { eps: config.normEps, centred: true };
	return graphOf(scope, facts, {
		codes: vectorQuantiser(scope, weights, config.codebook, slots * latentCells(schedules)),
		start: tables.start,
		embedding: positionEmbedding(scope, input),
		contextKeys: () => [0, 0],
		ropeAt: () => 0,
		opened() {},
		begin: classConditioning(scope, input, tables),
		sublayers: varSublayers({ ...input, shape: facts.shape, modulation: tables.modulation }),
		head: (pass, op) => adaLnHead(pass, weights, facts, tables.head, norm, op),
	});
}
