/** What a policy is, and what policies share. */
import type { Calibration, ModelInfo, Schedule } from "../protocol/model-info.ts";
import type { RunStep, Stage, StagePlan } from "../protocol/plan.ts";

/**
 * A request no plan can be made for, or a plan that cannot be executed. The message is fit for the person who asked.
 */
export class PlanError extends Error {
	override name = "PlanError";
}

export interface PlanRequest {
	/** Name of one of the model's schedules; absent: its default. */
	schedule?: string;
}

export interface Policy {
	name: string;
	/** One line for people. */
	title: string;
	/** Pure: the same model and request give the same plan. Throws PlanError. */
	plan(info: ModelInfo, request: PlanRequest): StagePlan;
}

export function scheduleOf(
	info: ModelInfo,
	{ schedule: name = info.defaultSchedule }: PlanRequest,
): { name: string; schedule: Schedule } {
	if (!Object.hasOwn(info.schedules, name)) {
		throw new PlanError(
			`Model ${info.id} has no schedule "${name}". It has: ${Object.keys(info.schedules).join(", ")}.`,
		);
	}
	return { name, schedule: info.schedules[name] };
}

/** Throws where the schedule was not calibrated: acceleration without measured bounds would be a guess. */
export function calibrationOf(info: ModelInfo, schedule: string, policy: string): Calibration {
	if (!Object.hasOwn(info.calibration, schedule)) {
		const calibrated = Object.keys(info.calibration);
		throw new PlanError(
			`Policy ${policy} needs a calibration, and model ${info.id} has none for schedule "${schedule}". ` +
				(calibrated.length
					? `Calibrated schedules: ${calibrated.join(", ")}; or use policy exact.`
					: "Use policy exact."),
		);
	}
	return info.calibration[schedule];
}

export function stageOf(
	scale: number,
	{ structureFrom, fidelityFrom }: Pick<Calibration, "structureFrom" | "fidelityFrom">,
): Stage {
	return scale >= fidelityFrom ? "fidelity" : scale >= structureFrom ? "structure" : "semantic";
}

/** A scale computed in full, both guidance rows, with the model's sampling defaults. `scales`: of the schedule. */
export function fullStep({ sampling }: ModelInfo, stage: Stage, scale: number, scales: number): RunStep {
	const { guidance, heldScales = 0, tau, topK, topP } = sampling;
	const last = Math.max(1, scales - 1);
	return {
		kind: "run",
		stage,
		rows: "both",
		tau,
		topP,
		reduce: [],
		guidance:
			typeof guidance === "number"
				? guidance
				: between(guidance, Math.min(scale, Math.max(0, last - heldScales)) / last),
		topK: typeof topK === "number" ? topK : (topK.findLast(([from]) => from <= scale)?.[1] ?? 0),
	};
}

/**
 * The same with the conditional row alone: guidance is dropped, the text is not. `textGuidance`: what takes its place,
 * if anything.
 */
export const conditional = (step: RunStep, textGuidance?: number): RunStep => ({
	...step,
	rows: "cond",
	guidance: 1,
	...(textGuidance !== undefined && { textGuidance }),
});

const between = ([from, to]: readonly [number, number], share: number) => from + (to - from) * share;
