import { expect, it } from "vitest";
import { logLine } from "./lines.ts";

it.each([
	["[worker] admitted", "[worker] admitted"],
	["Error: no such file", "[worker 0] Error: no such file"],
	["Warning: the disk is full", "[worker 0] Warning: the disk is full"],
	["  ", undefined],
	[
		"Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic " +
			"offset allocation limit.",
		undefined,
	],
	[
		"NOSENTRY per-isolate bootstrap compile cache failed its compatibility check; scripts will be compiled from " +
			"source; normalized = primordials; static_cast<int>(check) = 5",
		undefined,
	],
])("%j is logged as %j", (line, logged) => {
	expect(logLine("worker 0", line)).toBe(logged);
});
