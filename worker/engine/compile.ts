import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Program } from "../../kernels/gpu/kernel.ts";
import { Taps } from "../families/shared/taps.ts";
import { outcomesOf, type StagePlan, scalesLookedAt } from "../protocol/plan.ts";
import type { NextScaleModel } from "./round/next-scale.ts";
import type { Picture } from "./round/picture.ts";
import type { Rounds } from "./rounds.ts";

type Programs = Map<Program, string>;

/** Token ids of texts, or classes: at least one. */
export type Texts = readonly [readonly number[], ...(readonly number[])[]];

/**
 * Compiles every kernel that a picture by one of these plans, of one of these texts, needs, with all of its previews
 * and whatever the plan turns out to be: those of the first text and the first plan's first scales first, those of the
 * other texts last. Waits for a slot, makes no picture. Pictures by these plans that are asked for meanwhile run each
 * scale as soon as its kernels are there. `texts`: ids, of which only the number counts.
 */
export async function compilePlans(
	gpu: Gpu,
	rounds: Rounds,
	plans: readonly StagePlan[],
	[text, ...others]: Texts,
): Promise<void> {
	const scales = new Map(plans.map((plan) => [plan, plan.steps.map((): Programs => new Map())]));
	const further: Programs = new Map();
	const rehearsals = [
		...plans.flatMap((plan) =>
			outcomesOf(plan).map((outcome) => ({ plan: outcome, ids: text, into: scales.get(plan) as Programs[] })),
		),
		// The text is the first scale's.
		...others.map((ids) => ({ plan: plans[0], ids, into: [further] })),
	];
	const common = { seed: 0, draws: new Map(), taps: new Taps(gpu, undefined) };
	await rounds.tryOut(
		rehearsals.map(({ plan, ids }) => ({ ...common, plan, ids })),
		(picture, i) => {
			for (const [scale, programs] of rehearsals[i].into.entries())
				for (const [program, label] of gpu.rehearse(() => rehearse(rounds.model, picture, scale)))
					programs.set(program, label);
		},
	);
	const all = gpu.compile(new Map([...scales.values(), further].flat().flatMap((programs) => [...programs])));
	const there = (programs: Programs) => gpu.compiled(programs.keys());
	rounds.compiling.begin(new Map([...scales].map(([plan, byScale]) => [plan, byScale.map(there)])), all);
	await all;
}

/** Records a round of a picture, which then has run in name alone; the last one with the finished picture. */
function rehearse(model: NextScaleModel, picture: Picture, scale: number): void {
	const { plan, grids } = picture;
	const last = plan.steps.findLastIndex(({ kind }) => kind === "run");
	if (plan.steps[scale].kind === "run") {
		const pictures = scale === last ? [...new Set([scale, grids.length - 1])] : [scale];
		model.round([{ picture, scale, sample: true, pictures }]);
	}
	if (scalesLookedAt(plan).has(scale))
		void model.look(picture, scale, { width: 1, height: 1, data: new Uint8Array(3) });
}
