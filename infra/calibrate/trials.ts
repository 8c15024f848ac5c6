/** Pictures of a few prompts with each of several values, to find the best of them. */
import type { LoadedModel, RgbImage } from "../../worker/engine/types.ts";
import type { Seen, Trial } from "../../worker/policies/measurements/measurement.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import type { Judge } from "../eval/judge.ts";
import { type Prompt, seedOf } from "../eval/prompts.ts";
import { isRight } from "../eval/rules.ts";
import { unsettled } from "./measures.ts";
import { MIDDLE } from "./observe.ts";

/** Number of the pictures that are judged, far from those that an evaluation makes. */
const OWN_PICTURE = 1_000_000;
/** A difference that nobody sees. */
const LEAST = 1e-6;

/** What trials are made with. */
export interface Workshop {
	model: LoadedModel;
	exact: StagePlan;
	seen: Seen;
	prompts: readonly Prompt[];
	/** Without one, what a judge would find out is not tried. */
	judge: Judge | undefined;
	signal: AbortSignal;
	/** So many pictures will be made; so many more are. */
	begin(pictures: number): void;
	progress(pictures: number): void;
}

/** The best value, and in words what each of them showed; no words where nothing was tried. */
export async function tryOut<T>(trial: Trial<T>, workshop: Workshop): Promise<{ value: T; words: string | null }> {
	const { model, exact, seen, judge } = workshop;
	const plans = trial.by === "judge" && !judge ? [] : trial.plans(exact, model.info, seen);
	if (plans.length === 0) return { value: trial.untried(model.info), words: null };
	const values = plans.map(({ value }) => value);
	const made = plans.map(({ plan }) => plan);
	const scores =
		judge && trial.by === "judge" ? await rights(made, judge, workshop) : await differences(made, workshop);
	const shown = scores.map((score, i) => `${values[i]}: ${Number(score.toFixed(4))}`).join(", ");
	const what = trial.by === "judge" ? `right of ${workshop.prompts.length}` : "difference to the exact pictures";
	return { value: trial.best(values, scores), words: `${what} at ${shown}` };
}

/** How many pictures of each plan show what was asked. */
async function rights(plans: readonly StagePlan[], judge: Judge, workshop: Workshop): Promise<number[]> {
	const counts = plans.map(() => 0);
	for await (const { prompt, images } of pictures(plans, OWN_PICTURE, workshop)) {
		for (const [i, found] of (await judge.detect(images)).entries()) counts[i] += Number(isRight(found, prompt));
	}
	return counts;
}

/** Mean difference of each plan's pictures to the exact ones. */
async function differences(plans: readonly StagePlan[], workshop: Workshop): Promise<number[]> {
	const all: number[][] = [];
	for await (const { images } of pictures([workshop.exact, ...plans], 0, workshop)) {
		const [finished, ...made] = images;
		all.push(made.map((image) => unsettled(image, finished, MIDDLE)));
	}
	return plans.map((_, i) => geometricMean(all.map((picture) => picture[i])));
}

async function* pictures(
	plans: readonly StagePlan[],
	number: number,
	{ model, prompts, signal, begin, progress }: Workshop,
): AsyncGenerator<{ prompt: Prompt; images: RgbImage[] }> {
	// Beforehand, so that nothing keeps an interrupt waiting.
	await model.compile(plans);
	begin(prompts.length * plans.length);
	for (const prompt of prompts) {
		const seed = seedOf(prompt, number);
		const made = await model.branches({ plans, prompt: prompt.prompt, seed, signal });
		yield { prompt, images: made.map(({ image }) => image) };
		progress(plans.length);
	}
}

/** So that no picture that changes altogether outweighs the others. */
export const geometricMean = (values: readonly number[]): number =>
	Math.exp(values.reduce((sum, value) => sum + Math.log(Math.max(LEAST, value)), 0) / values.length);
