/** The published sizes: their whole graphs, on a device that runs nothing. */
import { expect, test } from "vitest";
import { type Model, modelInfo } from "../../worker/families/model.ts";
import { NO_DIGEST, plannedModel } from "../../worker/families/planned.ts";
import { PUBLISHED_TEXT } from "../../worker/families/text/config.ts";
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

/** The model with no schedule but its squares: a budget is settled for the one that takes most. */
function squares(model: Model): Model {
	const { "1:1": square } = model.manifest.schedules;
	return { ...model, manifest: { ...model.manifest, schedules: { "1:1": square } } };
}

test.each([
	{ precision: "f16" as const, gibibytes: 8, keys: "f16", stay: "visits" },
	{ precision: "int8" as const, gibibytes: 5, keys: "int8", stay: "visits" },
	{ precision: "int4" as const, gibibytes: 3.5, keys: "int4", stay: "visits" },
])(
	"Infinity-2B in $precision with Flan-T5, by exact, of squares, keeps within $gibibytes GiB",
	async ({ precision, gibibytes, keys, stay }) => {
		const textEncoder = PUBLISHED_TEXT["google/flan-t5-xl"];
		const model = squares(plannedModel("infinity", "2b", { precision, textEncoder }));
		const plan = exact.plan(modelInfo(model, NO_DIGEST), {});
		const memory = gibibytes * 2 ** 30;
		const { forecast, within, total, again } = await countMemory({ model, precision, plan, textTokens: 24, memory });
		expect(within).toMatchObject({ cacheDtype: keys, encoder: stay });
		expect(total).toBeLessThan(memory);
		expect(Math.abs(total / forecast.total - 1)).toBeLessThan(0.02);
		expect(Math.abs(again / forecast.phases.picture - 1)).toBeLessThan(0.02);
	},
	600_000,
);
