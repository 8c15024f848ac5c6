/** What a policy is, and what policies share. */
import type { Calibration, ModelInfo, Schedule, Stages } from "../protocol/model-info.ts";
import type { RunStep, Stage, StagePlan } from "../protocol/plan.ts";
import type { Measured, Measurements } from "./measurements/measurement.ts";

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
	/** Where it was published. */
	paper?: string;
	/**
	 * What it needs measured beside the bounds of the stages; `{}` is those alone. Absent: it plans any schedule,
	 * measured or not.
	 */
	needs?: Measurements;
	/** Pure: the same model and request give the same plan. Throws PlanError. */
	plan(info: ModelInfo, request: PlanRequest): StagePlan;
}

/** The schedule that a plan is made for. */
export interface Setting extends Stages {
	info: ModelInfo;
	schedule: string;
	grids: Schedule["grids"];
	/** A scale computed in full, both guidance rows, with the model's sampling defaults. */
	full(scale: number): RunStep;
}

/** A policy as its paper has it: steps out of a setting and of what was measured. The rest of a plan is the same. */
export function definePolicy<N extends Measurements>(
	about: Pick<Policy, "name" | "title" | "paper"> & { needs?: N },
	planned: (setting: Setting, measured: Measured<N>) => Pick<StagePlan, "steps" | "decide">,
): Policy {
	const { name: policy, needs } = about;
	return {
		...about,
		plan(info, request) {
			const { name, grids } = scheduleOf(info, request);
			const stages = needs ? calibrationOf(info, name, policy) : stagesOf(info, name);
			const full = (scale: number) => fullStep(info, stageOf(scale, stages), scale, grids.length);
			const { structureFrom, fidelityFrom } = stages;
			const setting: Setting = { info, schedule: name, grids, structureFrom, fidelityFrom, full };
			const measured = measuredOf(needs ?? ({} as N), policy, setting);
			return { version: 1, policy, model: info.digest, schedule: name, ...planned(setting, measured) };
		},
	};
}

function scheduleOf(
	info: ModelInfo,
	{ schedule: name = info.defaultSchedule }: PlanRequest,
): { name: string; grids: Schedule["grids"] } {
	if (!Object.hasOwn(info.schedules, name)) {
		throw new PlanError(
			`Model ${info.id} has no schedule "${name}". It has: ${Object.keys(info.schedules).join(", ")}.`,
		);
	}
	return { name, grids: info.schedules[name].grids };
}

/** Throws where the schedule was not calibrated: acceleration without measured bounds would be a guess. */
function calibrationOf(info: ModelInfo, schedule: string, policy: string): Calibration {
	if (Object.hasOwn(info.calibration, schedule)) return info.calibration[schedule];
	const calibrated = Object.keys(info.calibration);
	throw new PlanError(
		`Policy ${policy} needs a calibration, and model ${info.id} has none for schedule "${schedule}". ` +
			(calibrated.length
				? `Calibrated schedules: ${calibrated.join(", ")}; or use policy exact.`
				: `Use policy exact, or run ${calibrate(info, schedule)}.`),
	);
}

/** As measured; of an uncalibrated schedule, whose stages are for show only, thirds. */
function stagesOf({ calibration, schedules }: ModelInfo, schedule: string): Stages {
	if (Object.hasOwn(calibration, schedule)) return calibration[schedule];
	const scales = schedules[schedule].grids.length;
	return { structureFrom: Math.round(scales / 3), fidelityFrom: Math.round((2 * scales) / 3) };
}

/** What the policy needs, out of what was measured. Throws PlanError for what is missing or does not fit. */
function measuredOf<N extends Measurements>(needs: N, policy: string, { info, schedule, grids }: Setting): Measured<N> {
	const measured: Readonly<Record<string, unknown>> = Object.hasOwn(info.calibration, schedule)
		? info.calibration[schedule].measured
		: {};
	const where = `schedule "${schedule}" of model ${info.id}`;
	const entries = Object.entries(needs).map(([name, { schema, problems }]) => {
		const parsed = schema.safeParse(measured[name]);
		if (!parsed.success && measured[name] === undefined)
			throw new PlanError(
				`Policy ${policy} needs ${name}, which was not measured for ${where}. ` +
					`Run ${calibrate(info, schedule)}, or use policy exact.`,
			);
		const wrong = parsed.success
			? parsed.data === undefined
				? []
				: (problems?.(parsed.data, { info, scales: grids.length }) ?? [])
			: parsed.error.issues.map(({ path, message }) => [...path, message].join(": "));
		if (wrong.length > 0)
			throw new PlanError(
				`Policy ${policy} cannot plan by the ${name} of ${where}: ${wrong.join("; ")}. ` +
					`Measure it again with ${calibrate(info, schedule)}, or use policy exact.`,
			);
		return [name, parsed.data];
	});
	return Object.fromEntries(entries) as Measured<N>;
}

const calibrate = ({ id }: ModelInfo, schedule: string) =>
	`npx firstlight calibrate --model ${id} --schedule ${schedule}`;

function stageOf(scale: number, { structureFrom, fidelityFrom }: Stages): Stage {
	return scale >= fidelityFrom ? "fidelity" : scale >= structureFrom ? "structure" : "semantic";
}

/** `scales`: of the schedule. */
function fullStep({ sampling }: ModelInfo, stage: Stage, scale: number, scales: number): RunStep {
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
