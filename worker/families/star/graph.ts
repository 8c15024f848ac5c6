import { starRopeTable } from "../../../kernels/attention/rope.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import type { Graph, GraphInput } from "../family.ts";
import { levelEmbedding } from "../shared/embedding.ts";
import { graphOf } from "../shared/graph.ts";
import { ROWS } from "../shared/guidance.ts";
import { rotaryOf } from "../shared/rotary.ts";
import { latentCells } from "../shared/schedules.ts";
import { vectorQuantiser } from "../shared/vector-quantiser.ts";
import { plainNorm, starSublayers } from "./blocks.ts";
import type { StarConfig } from "./config.ts";
import { starText, textKeys, textsOf } from "./text.ts";

/** STAR (arXiv 2406.10797): VAR without AdaLN, text by cross attention, normalised rotary positions. */
export function starGraph(input: GraphInput<StarConfig>): Graph {
	const { config, facts, schedules, weights, slots } = input;
	const { width, heads, ropeReach, ropeTheta, normEps: eps } = config;
	const headDim = width / heads;
	using scope = new Scope(input.gpu);
	/** [slots * 2 * startTokens, width]: encoder_proj(pooled text) + pos_start. */
	const start = scope.tensor("start", [slots * ROWS * facts.startTokens, width]);
	const rotary = rotaryOf(scope, schedules, headDim, (_, grids) => starRopeTable(grids, headDim, ropeReach, ropeTheta));
	const norm = plainNorm(scope, width, eps);
	return graphOf(scope, facts, {
		codes: vectorQuantiser(scope, weights, config.codebook, slots * latentCells(schedules)),
		start,
		embedding: levelEmbedding(weights.get("transformer.lvl_embed.weight")),
		contextKeys: (subject) => textKeys(config, subject),
		texts: (subject) => textsOf(config, subject),
		ropeAt: rotary.at,
		opened({ taps, grids, tokens }) {
			const half = headDim / 2;
			const positions = tokens.reduce((sum, count) => sum + count, 0);
			const table = () => starRopeTable(grids, headDim, ropeReach, ropeTheta);
			taps.give("rope.cos", [positions, half], () => table().subarray(0, positions * half));
			taps.give("rope.sin", [positions, half], () => table().subarray(positions * half));
		},
		begin: starText(scope, input, start),
		sublayers: starSublayers({ ...input, shape: facts.shape, rotary, norm }),
		head(pass, { x, work, rows }) {
			const { normed } = work.block;
			const { tokens: m } = rows;
			const states = config.headNorm === false ? x : normed;
			if (states !== x) norm(pass, x, normed, m, "head norm");
			const head = weights.linear("transformer.head_logits");
			matmul(pass, { x: states, y: work.logits, ...head, m, k: width, n: facts.codes.logits, label: "head" });
		},
	});
}
