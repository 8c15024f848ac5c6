/** A plan that a person wrote, in place of a policy's. */
import type { z } from "zod";
import type { ModelInfo } from "../protocol/model-info.ts";
import { StagePlan } from "../protocol/plan.ts";
import { PlanError } from "./policy.ts";
import { notExecutable, planProblems } from "./validate.ts";

/**
 * The plan out of parsed JSON: a StagePlan, or its steps alone. What is left out is filled in: the model's digest, and
 * `schedule` or the model's default. Its policy is called `custom`, since no policy answers for it. Throws one
 * PlanError that lists the problems and what is allowed.
 */
export function customPlan(json: unknown, info: ModelInfo, schedule?: string): StagePlan {
	const given = Array.isArray(json) ? { steps: json } : json;
	if (given === null || typeof given !== "object")
		throw new PlanError("A plan is a JSON object with steps, or a list of steps: one for every scale of the schedule.");
	const parsed = StagePlan.safeParse({
		version: 1,
		model: info.digest,
		schedule: schedule ?? info.defaultSchedule,
		...given,
		policy: "custom",
	});
	const problems = parsed.success
		? planProblems(parsed.data, info)
		: parsed.error.issues.flatMap((issue) => inWords(issue));
	if (parsed.success && schedule !== undefined && parsed.data.schedule !== schedule)
		problems.push(`it is for schedule "${parsed.data.schedule}", and "${schedule}" was asked for`);
	if (parsed.success && problems.length === 0) return parsed.data;
	throw notExecutable(info, problems);
}

/** What the schema found wrong; of a union without a discriminator, in the member that fits best. */
function inWords(issue: z.core.$ZodIssue, path: readonly PropertyKey[] = []): string[] {
	const where = [...path, ...issue.path];
	if (issue.code === "invalid_union" && issue.errors.length > 0) {
		const closest = issue.errors.reduce((a, b) => (b.length < a.length ? b : a));
		return closest.flatMap((inner) => inWords(inner, where));
	}
	const name = where
		.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key).slice(0, 64)}`))
		.join("")
		.replace(/^\./, "");
	return [`${name || "the plan"}: ${issue.message.slice(0, 300)}`];
}
