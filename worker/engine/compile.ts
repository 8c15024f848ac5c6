import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Program } from "../../kernels/gpu/kernel.ts";
import { Taps } from "../families/shared/taps.ts";
import { outcomesOf, type StagePlan, scalesLookedAt } from "../protocol/plan.ts";
import type { NextScaleModel } from "./round/next-scale.ts";
import type { Picture } from "./round/picture.ts";
import type { Rounds } from "./rounds.ts";

/**
 * Compiles every kernel that a picture by one of these plans needs, with all of its previews and whatever the plan
 * turns out to be, those of the first plan's first scales first. Waits for a slot, makes no picture.
 */
export async function compilePlans(gpu: Gpu, rounds: Rounds, plans: readonly StagePlan[]): Promise<void> {
	const programs = new Map<Program, string>();
	for (const plan of plans.flatMap(outcomesOf)) {
		const options = { plan, seed: 0, ids: [0], draws: new Map(), taps: new Taps(gpu, undefined) };
		const picture = await rounds.open(options, new AbortController().signal);
		try {
			for (const [program, label] of gpu.rehearse(() => rehearse(rounds.model, picture))) programs.set(program, label);
		} finally {
			rounds.close(picture);
		}
	}
	await gpu.compile(programs);
}

/** Records every round of a picture, which then has run in name alone. */
function rehearse(model: NextScaleModel, picture: Picture): void {
	const { plan } = picture;
	const last = plan.steps.length - 1;
	const looked = scalesLookedAt(plan);
	for (const [scale, { kind }] of plan.steps.entries()) {
		if (kind === "run")
			model.round([{ picture, scale, sample: true, pictures: scale === last ? [scale] : [scale, last] }]);
		if (looked.has(scale)) void model.look(picture, scale, { width: 1, height: 1, data: new Uint8Array(3) });
	}
}
