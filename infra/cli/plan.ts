import { readFile } from "node:fs/promises";
import { customPlan } from "../../worker/policies/custom.ts";
import { PlanError, policies } from "../../worker/policies/index.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { openFolder } from "./open-folder.ts";
import { jsonOption, modelOption, policyOption, scheduleOption } from "./options.ts";
import type { Define } from "./program.ts";

const MAX_PLAN_CHARS = 2 ** 20;

/** Prints a policy's plan as JSON: to read, or to change and give to `generate --plan` or to the API. */
export const define: Define = (command, terminal) =>
	command
		.addOption(modelOption())
		.addOption(policyOption())
		.addOption(scheduleOption())
		.addOption(jsonOption())
		.addHelpText("after", `\nPolicies:\n${policiesText()}`)
		.action(async ({ model, policy = policies.exact, schedule }) => {
			const { info } = await openFolder(model, terminal);
			const plan = policy.plan(info, { schedule });
			terminal.print(planText(plan));
			terminal.result(plan);
		});

/** A line each. */
export function policiesText(): string {
	const width = Math.max(...Object.keys(policies).map(({ length }) => length));
	return Object.values(policies)
		.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`)
		.join("\n");
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
	const lines = steps.map((step) => `\t\t${JSON.stringify(step)}`);
	return `{\n${[...fields, `\t"steps": [\n${lines.join(",\n")}\n\t]`].join(",\n")}\n}`;
}
