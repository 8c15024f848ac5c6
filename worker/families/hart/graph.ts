import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Graph, GraphInput } from "../family.ts";
import { adaLnHead, conditionTables } from "../shared/ada-ln.ts";
import { levelEmbedding } from "../shared/embedding.ts";
import { graphOf } from "../shared/graph.ts";
import { latentCells, type Schedules } from "../shared/schedules.ts";
import { vectorQuantiser } from "../shared/vector-quantiser.ts";
import { hartSublayers } from "./blocks.ts";
import type { HartConfig } from "./config.ts";
import { noiseDraws } from "./diffusion.ts";
import { residualOf } from "./residual.ts";
import { hartRotary } from "./rotary.ts";
import { checkText, hartText, maskOf, textsOf } from "./text.ts";
import { timeEmbeddings } from "./time.ts";

/**
 * HART (arXiv 2410.10812): VAR whose first scale is the text, all of its padded tokens, and whose last code is followed
 * by a residual from a small diffusion. RMS norms, SwiGLU, modulation by a table and the mean text token.
 */
export function hartGraph(input: GraphInput<HartConfig>): Graph {
	const { gpu, config, facts, schedules, weights, slots } = input;
	const { width, codebook, normEps: eps } = config;
	const cells = latentCells(schedules);
	using scope = new Scope(gpu);
	const tables = conditionTables(scope, facts, slots);
	const rotary = hartRotary(scope, gpu, config, schedules, slots);
	const levels =
		config.levels === "table"
			? weights.get("transformer.lvl_embed.weight")
			: timeEmbeddings(scope, gpu, weights, "transformer.lvl_embed", scalesOf(schedules), width);
	const headNorm = { eps, centred: false, weight: weights.get("transformer.head_nm.ln_wo_grad.weight") };
	return graphOf(scope, facts, {
		codes: vectorQuantiser(scope, weights, codebook, slots * cells, { convolveLast: false }),
		start: tables.start,
		embedding: levelEmbedding(levels),
		/** None: the text comes before the picture. */
		contextKeys(subject) {
			checkText(config, subject);
			return [0, 0];
		},
		texts: (subject) => textsOf(input, subject),
		ropeAt: rotary.at,
		opened(picture) {
			let valid = 0;
			const positions = maskOf(config, picture).map((kept) => (valid += Number(kept)) - 1);
			rotary.fill(picture.slot, [positions, positions.map(() => 0)]);
		},
		begin: hartText(scope, input, tables),
		sublayers: hartSublayers({ ...input, shape: facts.shape, modulation: tables.modulation, halves: rotary.halves }),
		head: (pass, op) => adaLnHead(pass, weights, facts, tables.head, headNorm, op),
		residual: residualOf(scope, input, cells),
		residualDraws: noiseDraws(config.residual, codebook.channels),
	});
}

/** Numbers of the scales of the longest schedule. */
const scalesOf = (schedules: Schedules): number[] => {
	const scales = Math.max(...Object.values(schedules).map(({ grids }) => grids.length));
	return Array.from({ length: scales }, (_, scale) => scale);
};
