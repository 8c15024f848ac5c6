import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { Graph, GraphInput } from "../family.ts";
import { adaLnHead, conditionTables } from "../shared/ada-ln.ts";
import { graphOf } from "../shared/graph.ts";
import { firstToken, latentCells, type Schedules } from "../shared/schedules.ts";
import { vectorQuantiser } from "../shared/vector-quantiser.ts";
import type { Weights } from "../shared/weights.ts";
import { varSublayers } from "./blocks.ts";
import { classConditioning } from "./class.ts";
import type { VarConfig } from "./config.ts";

/**
 * VAR (arXiv 2404.02905): a class to codes of a vocabulary; AdaLN from the class embedding, learned absolute positions.
 */
export function varGraph(input: GraphInput<VarConfig>): Graph {
	const { gpu, config, facts, schedules, weights, slots } = input;
	using scope = new Scope(gpu);
	const tables = conditionTables(scope, facts, slots);
	const norm = { eps: config.normEps, centred: true };
	return graphOf(scope, facts, {
		codes: vectorQuantiser(scope, weights, config.codebook, slots * latentCells(schedules)),
		start: tables.start,
		embedding: {
			table: positionTable(scope, gpu, weights, config, schedules),
			index: ({ tokens }, scale) => Array.from({ length: tokens[scale] }, (_, i) => firstToken(tokens, scale) + i),
		},
		contextKeys: () => [0, 0],
		ropeAt: () => 0,
		opened() {},
		begin: classConditioning(scope, input, tables),
		sublayers: varSublayers({ ...input, shape: facts.shape, modulation: tables.modulation }),
		head: (pass, op) => adaLnHead(pass, weights, facts, tables.head, norm, op),
	});
}

/**
 * [tokens, width]: learned positions with their levels. Every schedule has the tokens of the model's positions, scale
 * by scale.
 */
export function positionTable(
	scope: Scope,
	gpu: Gpu,
	weights: Weights,
	{ tokens, width }: Pick<VarConfig, "tokens" | "width">,
	schedules: Schedules,
): Tensor {
	const y = scope.tensor("positions and levels", [tokens, width]);
	const [{ grids }] = Object.values(schedules);
	const levels = grids.flatMap(([height, side], scale) => Array<number>(height * side).fill(scale));
	const pass = gpu.pass("positions");
	const extra = { table: weights.get("transformer.lvl_embed.weight"), index: pass.table(levels) };
	const index = pass.table(levels.map((_, i) => i));
	const x = weights.get("transformer.pos_1LC");
	gatherRows(pass, { x, index, y, count: tokens, width, extra, label: "positions and levels" });
	pass.submit();
	return y;
}
