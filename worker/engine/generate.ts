import type { Previews } from "../protocol/job.ts";
import { type RunStep, scalesLookedAt } from "../protocol/plan.ts";
import type { ScaleRequest } from "./round/parts.ts";
import type { PictureOptions } from "./round/picture.ts";
import type { Snapshot } from "./round/snapshot.ts";
import type { Rounds } from "./rounds.ts";
import type { GenerateOptions, GenerateResult, RgbImage } from "./types.ts";

/**
 * One picture: every scale as it is made, then the finished picture. Throws PlanError for a plan of another model,
 * PromptError for what the model does not draw, OutOfMemoryError when there is no room for it beside those that run,
 * and the signal's reason between scales.
 */
export function generate({ model, ...options }: GenerateOptions): AsyncGenerator<GenerateResult, void, undefined> {
	return model.generate(options);
}

export interface Generation extends PictureOptions {
	grids: readonly (readonly [number, number])[];
	previews: Previews;
	forcedCodes?: readonly Uint8Array[];
	sampleForced?: boolean;
	until?: number;
	signal?: AbortSignal;
	waits?: (waits: boolean) => void;
	/** Go on from there: the scales before it do not run and are not yielded. */
	after?: Snapshot;
}

interface PlannedScale extends Omit<ScaleRequest, "picture"> {
	step: RunStep;
	/** Place among the executed scales, from 1. */
	position: number;
	preview: boolean;
}

/**
 * Walks a plan scale by scale. Yields every executed scale, then the finished picture (not when `until` ends it
 * earlier). A scale runs ahead while the one before is in the caller's hands, unless the plan looks at what there is
 * between the two. Throws the signal's reason between scales. The picture is closed however this ends.
 */
export async function* walk(rounds: Rounds, generation: Generation): AsyncGenerator<GenerateResult, void, undefined> {
	const { model } = rounds;
	const { grids, taps } = generation;
	const started = performance.now();
	// Ends the scale that runs ahead, too, when the caller leaves.
	const left = new AbortController();
	const signal = AbortSignal.any([left.signal, ...(generation.signal ? [generation.signal] : [])]);
	const picture = await rounds.open(generation, signal, generation.waits);
	const asked: Promise<unknown>[] = [];
	try {
		if (generation.after) model.restore(picture, generation.after);
		const ask = ({ scale, sample, forced, pictures }: PlannedScale) => {
			const outcome = rounds.run({ picture, scale, sample, forced, pictures }, signal);
			asked.push(outcome.catch(() => {}));
			return outcome;
		};
		let { scales, steps, finishes } = plannedScales(generation);
		let next = ask(scales[0]);
		let finished: RgbImage | undefined;
		let decode = 0;
		for (let i = 0; i < scales.length; i++) {
			const { scale, step, position, preview, sample, pictures } = scales[i];
			const { plan } = picture;
			const current = next;
			const settles = plan.decide?.after === scale && i + 1 < scales.length;
			const looks = scalesLookedAt(plan).has(scale) && i + 1 < scales.length;
			if (i + 1 < scales.length && !settles && !looks) next = ask(scales[i + 1]);
			const { codes, pictures: made, milliseconds } = await current;
			await taps.flush();
			if (finishes && i === scales.length - 1) {
				finished = made[pictures.length - 1];
				decode = milliseconds.preview;
			}
			if (sample && codes) {
				yield {
					kind: "scale",
					index: scale,
					grid: [...grids[scale]],
					stage: step.stage,
					step: position,
					steps,
					codes,
					preview: preview ? made[0] : null,
					milliseconds,
				};
				signal.throwIfAborted();
			}
			if (looks) await model.look(picture, scale, preview ? made[0] : undefined);
			if (settles) {
				const { measured, plan } = await model.settle(picture);
				({ scales, steps, finishes } = plannedScales({ ...generation, plan }));
				yield { kind: "revision", after: scale, measured, plan };
				signal.throwIfAborted();
			}
			if (settles || looks) next = ask(scales[i + 1]);
		}
		if (finished)
			yield { kind: "final", image: finished, milliseconds: { decode, total: performance.now() - started } };
	} finally {
		left.abort();
		await Promise.all(asked);
		taps.destroy();
		rounds.close(picture);
	}
}

/** The executed scales with what each has to do. `finishes`: the last of them also makes the finished picture. */
function plannedScales({ plan, grids, previews, forcedCodes = [], sampleForced = false, until, after }: Generation): {
	scales: PlannedScale[];
	steps: number;
	finishes: boolean;
} {
	const executed = plan.steps.flatMap((step, scale) => (step.kind === "run" ? [{ step, scale }] : []));
	const finishes = until === undefined || executed.every(({ scale }) => scale <= until);
	const scales = executed.flatMap(({ step, scale }, i): PlannedScale[] => {
		if (scale < (after?.scales ?? 0) || (until !== undefined && scale > until)) return [];
		const forced = forcedCodes[scale];
		const sample = !forced || sampleForced;
		const preview = sample && wantsPreview(previews, i, executed.length);
		const pictures = preview ? [scale] : [];
		if (finishes && i === executed.length - 1 && pictures[0] !== grids.length - 1) pictures.push(grids.length - 1);
		return [{ step, scale, position: i + 1, sample, forced, preview, pictures }];
	});
	return { scales, steps: executed.length, finishes };
}

/** k previews are those of the k executed scales before the last: the last one's picture is the finished one. */
function wantsPreview(previews: Previews, position: number, executed: number): boolean {
	if (previews === "all") return true;
	if (previews === "none") return false;
	return position < executed - 1 && position >= executed - 1 - previews;
}
