/**
 * Whether a plan can be executed on a model: what the schema of a plan cannot see. The engine executes nothing else.
 */
import type { ModelInfo, Schedule } from "../protocol/model-info.ts";
import { type Decision, outcomesOf, type Reduction, type StagePlan, type Step } from "../protocol/plan.ts";
import { kindOf } from "../protocol/reductions/index.ts";
import { PlanError, type Policy } from "./policy.ts";

const SHOWN = 20;

/** Throws one PlanError that lists the problems. */
export function checkPlan(plan: StagePlan, info: ModelInfo): void {
	const problems = planProblems(plan, info);
	if (problems.length > 0) throw notExecutable(info, problems);
}

/** Whether the policy makes a plan for the schedule (left out: the model's default) that the model can run. */
export function canPlan(policy: Policy, info: ModelInfo, schedule?: string): boolean {
	try {
		checkPlan(policy.plan(info, { schedule }), info);
		return true;
	} catch (error) {
		if (error instanceof PlanError) return false;
		throw error;
	}
}

/** The first of the problems, a line each. */
export function notExecutable({ id }: ModelInfo, problems: readonly string[]): PlanError {
	const shown = problems.slice(0, SHOWN);
	if (problems.length > SHOWN) shown.push(`and ${problems.length - SHOWN} more`);
	return new PlanError(
		`The plan cannot be executed on model ${id}:\n${shown.map((problem) => `- ${problem}`).join("\n")}`,
	);
}

/** Everything that is wrong with the plan; empty when it can be executed. Expects a plan that passed its schema. */
export function planProblems(plan: StagePlan, info: ModelInfo): string[] {
	const problems: string[] = [];
	if (plan.model !== info.digest)
		problems.push(`it was made for model ${plan.model}; this is ${info.digest}. Make the plan again`);
	if (!Object.hasOwn(info.schedules, plan.schedule)) {
		const allowed = Object.keys(info.schedules).join(", ");
		return [...problems, `schedule "${plan.schedule}" is unknown; allowed: ${allowed}`];
	}
	const { grids } = info.schedules[plan.schedule];
	if (plan.steps.length !== grids.length) {
		return [
			...problems,
			`it has ${plan.steps.length} steps; schedule "${plan.schedule}" has ${grids.length} scales and needs as many`,
		];
	}
	problems.push(...stepProblems(plan.steps, grids, info));
	if (plan.decide) problems.push(...decisionProblems(plan, plan.decide, grids, info));
	return problems;
}

function stepProblems(steps: readonly Step[], grids: Schedule["grids"], { blocks, guidesByText }: ModelInfo): string[] {
	const problems = [...skipProblems(steps), ...rowProblems(steps)];
	for (const [scale, step] of steps.entries()) {
		if (step.kind === "skip") continue;
		problems.push(...reduceProblems(steps, scale, step.reduce, grids[scale][0] * grids[scale][1], blocks));
		if (step.textGuidance !== undefined && !guidesByText)
			problems.push(`step ${scale} has textGuidance; this model's text is not guided by itself, leave it out`);
		if (step.textGuidance !== undefined && step.rows !== "cond")
			problems.push(
				`step ${scale} has textGuidance with rows "${step.rows}"; ` +
					'it takes the place of the other row, so "cond" is allowed',
			);
		if (typeof step.tau === "object" && step.tau.between[0] > step.tau.between[1])
			problems.push(
				`step ${scale}: tau is sought between ${step.tau.between.join(" and ")}; give the lower bound first`,
			);
	}
	return problems;
}

/** Every outcome must be a plan that runs the scale after the one that is looked at. */
function decisionProblems(plan: StagePlan, decide: Decision, grids: Schedule["grids"], info: ModelInfo): string[] {
	const { after } = decide;
	const left = grids.length - after - 1;
	if (left < 1) return [`it decides after scale ${after}; 0 to ${grids.length - 2} are allowed`];
	const unrun = (steps: readonly Step[]) =>
		steps[after + 1].kind === "skip" ? [`step ${after + 1} is skipped; the scale after a decision must run`] : [];
	if (decide.measure === "picture") return unrun(plan.steps);
	const { cases } = decide;
	const problems: string[] = [];
	for (const [i, { below, steps }] of cases.entries()) {
		const where = `case ${i} of its decision`;
		if (i > 0 && below <= cases[i - 1].below)
			problems.push(`${where}: below ${below} is never reached after ${cases[i - 1].below}; cases go upwards`);
		if (steps.length !== left)
			problems.push(`${where} has ${steps.length} steps; ${left} scales come after scale ${after}`);
	}
	if (problems.length > 0) return problems;
	const ofCases = outcomesOf(plan)
		.slice(1)
		.flatMap(({ steps }, i) =>
			[...unrun(steps), ...stepProblems(steps, grids, info)].map((problem) => `case ${i} of its decision: ${problem}`),
		);
	return [...unrun(plan.steps), ...ofCases];
}

function skipProblems(steps: readonly Step[]): string[] {
	const problems: string[] = [];
	if (steps[0].kind === "skip") problems.push("step 0 is skipped; the first scale must run");
	const firstSkip = steps.findIndex(({ kind }) => kind === "skip");
	for (const [scale, { kind }] of steps.entries()) {
		if (firstSkip !== -1 && scale > firstSkip && kind === "run")
			problems.push(`step ${scale} runs after step ${firstSkip} is skipped; only trailing scales may be skipped`);
	}
	return problems;
}

/** A dropped row's cache is gone: rows go from `both` to `cond` or `uncond` once, never back and never across. */
function rowProblems(steps: readonly Step[]): string[] {
	const problems: string[] = [];
	let rows: "both" | "cond" | "uncond" = "both";
	for (const [scale, step] of steps.entries()) {
		if (step.kind !== "run") continue;
		if (rows !== "both" && step.rows !== rows)
			problems.push(
				`step ${scale} has rows "${step.rows}" after "${rows}"; ` +
					`rows only narrow, so "${rows}" is allowed from there on`,
			);
		else rows = step.rows;
	}
	return problems;
}

function reduceProblems(
	steps: readonly Step[],
	scale: number,
	reduce: readonly Reduction[],
	tokens: number,
	blocks: number,
): string[] {
	const problems: string[] = [];
	let end = 0;
	if (scale === 0 && reduce.length > 0)
		problems.push("step 0 is reduced; the first scale, which a text may be part of, runs in full");
	for (const reduction of reduce) {
		const {
			blocks: [from, to],
			count,
			rest,
		} = reduction;
		const where = `step ${scale}, blocks ${from} to ${to}`;
		if (from >= to || to > blocks) problems.push(`${where}: a span needs from < to <= ${blocks}, the model's blocks`);
		else if (from < end) problems.push(`${where}: spans must be disjoint and in order; this one may begin at ${end}`);
		end = Math.max(end, to);
		if (count > tokens) problems.push(`${where}: ${count} tokens kept of ${tokens}; at most ${tokens} are allowed`);
		if (typeof rest === "object")
			problems.push(...sourceProblems(steps, scale, reduction, rest).map((problem) => `${where}: ${problem}`));
		const own = kindOf(reduction).problems(reduction, { scale, blocks });
		problems.push(...own.map((problem) => `${where}: ${problem}`));
	}
	return problems;
}

/** What is wrong with filling a reduction's other tokens from an earlier scale. */
function sourceProblems(
	steps: readonly Step[],
	scale: number,
	{ blocks: [from, to], each }: Reduction,
	rest: Extract<Reduction["rest"], object>,
): string[] {
	const source = steps[rest.from];
	if (rest.from >= scale)
		return [
			`rest.from ${rest.from} is not an earlier scale; ` +
				(scale === 0 ? "scale 0 has none and cannot be reduced" : `0 to ${scale - 1} are allowed`),
		];
	if (source.kind !== "run") return [`rest.from ${rest.from} is skipped; it must be a scale that runs`];
	if (rest.of === "change" || each === "sublayer") {
		const reduced = source.reduce.find(({ blocks: [a, b] }) => a < to && from < b);
		return reduced
			? [
					`scale ${rest.from} is reduced in blocks ${reduced.blocks.join(" to ")} and has no full-length ` +
						`${rest.of} there; take it from a scale that is not`,
				]
			: [];
	}
	// A reduction around each block is at full length between blocks.
	const boundaries = each === "span" ? [to] : Array.from({ length: to - from }, (_, i) => from + i + 1);
	const across = boundaries.find((at) =>
		source.reduce.some(
			({ blocks: [a, b], each, rest }) => each === "span" && a < at && (at < b || (at === b && rest === "skip")),
		),
	);
	return across === undefined
		? []
		: [`scale ${rest.from} is reduced across block ${across} and has no full-length output there; align the spans`];
}
