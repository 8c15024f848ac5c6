import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import type { Graph, GraphInput } from "../family.ts";
import { modulatedHeadNorm } from "../shared/ada-ln.ts";
import type { InfinityConfig } from "./config.ts";
import { ownNorm } from "./norm.ts";
import { headNames } from "./tensors.ts";

/** The last states through a norm and one matrix, or two with GELU between them. `table`: the norm's modulation. */
export function infinityHead(
	pass: Pass,
	input: GraphInput<InfinityConfig>,
	table: Tensor,
	{ x, work, rows }: Parameters<Graph["head"]>[1],
): void {
	const { config, facts, weights } = input;
	const { width, normEps: eps, norm: kind } = config;
	const { normed, qkv: inner } = work.block;
	const { tokens: m } = rows;
	const { norm, matrices } = headNames(config);
	if (norm !== undefined)
		ownNorm(pass, config, weights.projection(`transformer.${norm}`), { x, y: normed, tokens: m, label: "head norm" });
	else modulatedHeadNorm(pass, { x, y: normed, width, table, norm: { eps, centred: kind !== "rms" }, rows });
	const linear = (name: string, from: Tensor, y: Tensor, n: number, gelu: boolean) =>
		matmul(pass, { x: from, y, ...weights.linear(`transformer.${name}`), m, k: width, n, gelu, label: name });
	const last = matrices[matrices.length - 1];
	if (matrices.length > 1) linear(matrices[0], normed, inner, width, true);
	linear(last, matrices.length > 1 ? inner : normed, work.logits, facts.codes.logits, false);
}
