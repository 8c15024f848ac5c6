import { OutOfMemoryError } from "../../kernels/gpu/errors.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Program } from "../../kernels/gpu/kernel.ts";
import { Taps } from "../families/shared/taps.ts";
import { outcomesOf, type StagePlan, scalesLookedAt } from "../protocol/plan.ts";
import type { NextScaleModel } from "./round/next-scale.ts";
import type { Picture } from "./round/picture.ts";
import type { Rounds } from "./rounds.ts";

type Programs = Map<Program, string>;

/**
 * Compiles every kernel that a picture by one of these plans, of one of these texts, needs, with all of its previews
 * and whatever the plan turns out to be: those of the first text and the first plan's first scales first, those of the
 * other texts last. Waits for a slot, makes no picture. Pictures by these plans that are asked for meanwhile run each
 * scale as soon as its kernels are there. `texts`: ids, of which only the number counts. Throws OutOfMemoryError where
 * there is no room for a picture of any of them.
 */
export async function compilePlans(
	gpu: Gpu,
	rounds: Rounds,
	plans: readonly StagePlan[],
	texts: readonly (readonly number[])[],
): Promise<void> {
	if (plans.length === 0) return;
	const scales = new Map(plans.map((plan) => [plan, plan.steps.map((): Programs => new Map())]));
	const further: Programs = new Map();
	const common = { seed: 0, draws: new Map(), taps: new Taps(gpu, undefined) };
	const outcomes = plans.flatMap((plan) =>
		outcomesOf(plan).map((outcome) => ({ plan: outcome, into: scales.get(plan) as Programs[] })),
	);
	await rounds.tryOut(async (open) => {
		/** Adds what each scale of pictures of a text needs. */
		const rehearsed = async (ids: readonly number[], by: readonly { plan: StagePlan; into: Programs[] }[]) => {
			for (const { plan, into } of by)
				await open({ ...common, plan, ids }, (picture) => {
					for (const [scale, programs] of into.entries())
						for (const [program, label] of gpu.rehearse(() => rehearse(rounds.model, picture, scale)))
							programs.set(program, label);
				});
		};
		let short: OutOfMemoryError | undefined;
		let first = true;
		for (const ids of texts) {
			try {
				// The text is the first scale's.
				await rehearsed(ids, first ? outcomes : [{ plan: plans[0], into: [further] }]);
				first = false;
			} catch (error) {
				// Nobody draws what there is no room for.
				if (!(error instanceof OutOfMemoryError)) throw error;
				short = error;
			}
		}
		if (first) throw short;
	});
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
