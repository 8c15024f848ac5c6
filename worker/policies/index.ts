/** Every policy by its name. A new one is a file of its own and a line here. */
import { currentPolicyName } from "../protocol/policy-names.ts";
import { diverse } from "./diverse.ts";
import { exact } from "./exact.ts";
import { fastvar } from "./fastvar.ts";
import type { Policy } from "./policy.ts";
import { skipvar } from "./skipvar.ts";
import { skipvarStatic } from "./skipvar-static.ts";
import { sparsevar } from "./sparsevar.ts";
import { stagevar } from "./stagevar.ts";
import { stagevarAuto } from "./stagevar-auto.ts";
import { stagevarReleased } from "./stagevar-released.ts";
import { switti } from "./switti.ts";

export { PlanError, type PlanRequest, type Policy } from "./policy.ts";

export const policies: Readonly<Record<string, Policy>> = byName([
	exact,
	stagevar,
	stagevarReleased,
	fastvar,
	sparsevar,
	skipvar,
	skipvarStatic,
	switti,
	stagevarAuto,
	diverse,
]);

/** The policy that a name stands for, a former one too; undefined where there is none. */
export function findPolicy(name: string): Policy | undefined {
	const current = currentPolicyName(name);
	return Object.hasOwn(policies, current) ? policies[current] : undefined;
}

function byName(list: readonly Policy[]): Readonly<Record<string, Policy>> {
	return Object.freeze(Object.fromEntries(list.map((policy) => [policy.name, policy])));
}
