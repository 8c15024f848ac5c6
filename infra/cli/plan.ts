import { readFile } from "node:fs/promises";
import { customPlan } from "../../worker/policies/custom.ts";
import { findPolicy, PlanError, type Policy, policies } from "../../worker/policies/index.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { openFolder } from "./open-folder.ts";
import { parse, UsageError } from "./usage.ts";

const MAX_PLAN_CHARS = 2 ** 20;

/** Prints a policy's plan as JSON: to read, or to change and give to `generate --plan` or to the API. */
export async function planCommand(args: string[]): Promise<number> {
	const { values } = parse({
		args,
		options: {
			model: { type: "string", default: "emoji-128" },
			policy: { type: "string", default: "exact" },
			schedule: { type: "string" },
		},
	});
	const policy = policyNamed(values.policy);
	const { info } = await openFolder(values.model);
	console.log(planText(policy.plan(info, { schedule: values.schedule })));
	return 0;
}

export function policyNamed(name: string): Policy {
	const policy = findPolicy(name);
	if (policy) return policy;
	throw new UsageError(`There is no policy ${name}. There are: ${Object.keys(policies).join(", ")}.`);
}

/** A custom plan out of a file of JSON. Throws PlanError for one the model cannot run. */
export async function readPlan(path: string, info: ModelInfo, schedule?: string): Promise<StagePlan> {
	const text = await readFile(path, "utf8");
	if (text.length > MAX_PLAN_CHARS)
		throw new PlanError(`${path} has ${text.length} characters; a plan has at most ${MAX_PLAN_CHARS}.`);
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch (error) {
		throw new PlanError(`${path} is not JSON: ${(error as Error).message}`);
	}
	return customPlan(json, info, schedule);
}

/** One line a step. */
export function planText({ steps, ...head }: StagePlan): string {
	const fields = Object.entries(head).map(([key, value]) => `\t${JSON.stringify(key)}: ${JSON.stringify(value)}`);
	return `{\n${[...fields, `\t"steps": [\n${steps.map((step) => `\t\t${JSON.stringify(step)}`).join(",\n")}\n\t]`].join(",\n")}\n}`;
}
