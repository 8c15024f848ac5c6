/** Every policy by its name. A new one is a file of its own and a line here. */
import { diverse } from "./diverse.ts";
import { exact } from "./exact.ts";
import { fastvar } from "./fastvar.ts";
import type { Policy } from "./policy.ts";
import { skipvar } from "./skipvar.ts";
import { sparsevar } from "./sparsevar.ts";
import { stagevar } from "./stagevar.ts";
import { stagevarAuto } from "./stagevar-auto.ts";
import { stagevarSkip } from "./stagevar-skip.ts";

export { PlanError, type PlanRequest, type Policy } from "./policy.ts";

export const policies: Readonly<Record<string, Policy>> = Object.freeze({
	[exact.name]: exact,
	[stagevar.name]: stagevar,
	[stagevarSkip.name]: stagevarSkip,
	[fastvar.name]: fastvar,
	[sparsevar.name]: sparsevar,
	[skipvar.name]: skipvar,
	[stagevarAuto.name]: stagevarAuto,
	[diverse.name]: diverse,
});
