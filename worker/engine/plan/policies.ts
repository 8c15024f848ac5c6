/** Every policy by its name. A new one is a file of its own and a line here. */
import { exact } from "./exact.ts";
import type { Policy } from "./policy.ts";
import { stagevar } from "./stagevar.ts";
import { stagevarSkip } from "./stagevar-skip.ts";

export { PlanError, type PlanRequest, type Policy } from "./policy.ts";

export const policies: Readonly<Record<string, Policy>> = Object.freeze({
	[exact.name]: exact,
	[stagevar.name]: stagevar,
	[stagevarSkip.name]: stagevarSkip,
});
