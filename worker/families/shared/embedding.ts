import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { Graph, GraphInput } from "../family.ts";
import { firstToken } from "./schedules.ts";

/** One row of the table for all tokens of a scale. */
export const levelEmbedding = (table: Tensor): Graph["embedding"] => ({
	table,
	index: (_, scale) => ({ first: scale, step: 0 }),
});

/**
 * VAR's: learned positions with their levels, [tokens, width]. Every schedule has the tokens of the model's positions,
 * scale by scale.
 */
export function positionEmbedding(
	scope: Scope,
	{ gpu, weights, schedules, config: { tokens: count, width } }: GraphInput<{ tokens: number; width: number }>,
): Graph["embedding"] {
	const table = scope.tensor("positions and levels", [count, width]);
	const [{ grids }] = Object.values(schedules);
	const levels = grids.flatMap(([height, side], scale) => Array<number>(height * side).fill(scale));
	const pass = gpu.pass("positions");
	const extra = { table: weights.get("transformer.lvl_embed.weight"), index: pass.table(levels) };
	const index = pass.table(levels.map((_, i) => i));
	const x = weights.get("transformer.pos_1LC");
	gatherRows(pass, { x, index, y: table, count, width, extra, label: "positions and levels" });
	pass.submit();
	return {
		table,
		index: ({ tokens }, scale) => ({ first: firstToken(tokens, scale), step: 1 }),
	};
}
