/** The published sizes: their whole graphs, on a device that runs nothing. */
import { expect, test } from "vitest";
import { modelInfo } from "../../worker/families/model.ts";
import { NO_DIGEST, plannedModel } from "../../worker/families/planned.ts";
import { exact } from "../../worker/policies/exact.ts";
import { countMemory } from "./memory.ts";

test.each([
	{ family: "infinity", size: "2b", precision: "int8" as const, textTokens: 24 },
	{ family: "var", size: "d30", precision: "f16" as const, textTokens: 0 },
])(
	"$family $size in $precision, in bindings of WebGPU's default: what is forecast, within 2 %",
	async ({ family, size, precision, textTokens }) => {
		const model = plannedModel(family, size, { precision });
		const plan = exact.plan(modelInfo(model, NO_DIGEST), {});
		const subject = { model, precision, plan, textTokens, bindingBytes: 2 ** 27 };
		const { forecast, total } = await countMemory(subject);
		expect(Math.abs(total / forecast.total - 1)).toBeLessThan(0.02);
	},
	600_000,
);
