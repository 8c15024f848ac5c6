import { expect, test } from "vitest";
import { STORES, within } from "../../worker/engine/paper/budget.ts";
import { type MemorySetting, memoryNeed } from "../../worker/engine/paper/memory.ts";
import type { Model } from "../../worker/families/model.ts";
import type { T5Config } from "../../worker/families/text/config.ts";
import { policies } from "../../worker/policies/index.ts";
import { countMemory } from "./memory.ts";
import { randomInfinity } from "./random-model.ts";

const model = randomInfinity({ width: 256, heads: 4, ffn: 1024, bits: 16 }, 4);

test.each(["exact", "stagevar", "fastvar"])("a picture by %s takes what is forecast, within 2 %", async (policy) => {
	const plan = policies[policy].plan(model.info, {});
	const { forecast, total } = await countMemory({ model, precision: "f32", plan, textTokens: 24 });
	expect(total / forecast.total).toBeGreaterThan(0.98);
	expect(total / forecast.total).toBeLessThan(1.02);
});

test("with f16 keys and weights, too, and by small bindings; one that is too small is said", async () => {
	const plan = policies.exact.plan(model.info, {});
	const subject = { model, precision: "f16" as const, plan, textTokens: 24 };
	const { forecast, total } = await countMemory(subject);
	expect(Math.abs(total / forecast.total - 1)).toBeLessThan(0.02);
	const cut = await countMemory({ ...subject, bindingBytes: 2 ** 20 });
	expect(Math.abs(cut.total / cut.forecast.total - 1)).toBeLessThan(0.02);
	await expect(countMemory({ ...subject, bindingBytes: 2 ** 10 })).rejects.toThrow(/this adapter binds at most 1024/);
});

/** With the decoder that takes least. */
const leastOf = (model: Model, setting: MemorySetting): number =>
	Math.min(...STORES.map((stored) => memoryNeed(model, { ...setting, stored }).total));

/** As wide as Flan-T5-XL, and a few layers of it. */
const t5 = (layers: number): T5Config => ({
	kind: "t5",
	width: 2048,
	heads: 8,
	headDim: 64,
	layers,
	ffn: 1024,
	vocabulary: 1000,
	maxTokens: 512,
	buckets: 32,
	distance: 128,
	normEps: 1e-6,
});

test.each([
	["what it takes is more than a picture's keys and activations", 8],
	["less", 1],
])("a text encoder that a budget has come and go: %s", async (_, layers) => {
	const large = randomInfinity({ width: 256, heads: 4, ffn: 1024, bits: 16, textEncoder: t5(layers) }, 4);
	const plan = policies.exact.plan(large.info, {});
	const subject = { model: large, precision: "f32" as const, plan, textTokens: 24 };
	const both = await countMemory(subject);
	expect(Math.abs(both.total / both.forecast.total - 1)).toBeLessThan(0.02);
	expect(both.again / both.total).toBeCloseTo(1, 5);
	expect(within(large, {}, memoryNeed(large).total)?.within.encoder).toBe("stays");

	const least = leastOf(large, { encoder: "visits" });
	const { forecast, within: kept, total, again } = await countMemory({ ...subject, memory: least });
	expect(kept?.encoder).toBe("visits");
	const { text, picture } = forecast.phases;
	expect(text > picture).toBe(layers === 8);
	expect(Math.abs(total / Math.max(text, picture) - 1)).toBeLessThan(0.02);
	expect(Math.abs(again / picture - 1)).toBeLessThan(0.02);
	expect(total).toBeLessThan(both.total - Math.min(forecast.encoder, forecast.keys + forecast.activations) / 2);
});

test.each(["int8", "int4"] as const)(
	"keys that a budget has kept as %s, and what they are read from",
	async (cacheDtype) => {
		const plan = policies.exact.plan(model.info, {});
		const memory = leastOf(model, { cacheDtype });
		const subject = { model, precision: "f32" as const, plan, textTokens: 24, memory };
		const { forecast, within: kept, total, counted } = await countMemory(subject);
		expect(kept?.cacheDtype).toBe(cacheDtype);
		expect(Math.abs(total / forecast.total - 1)).toBeLessThan(0.02);
		expect(Math.abs(counted.keys / forecast.keys - 1)).toBeLessThan(0.02);
		// The features that are given come on top.
		expect(total - 4 * 24 * 2048).toBeLessThan(memory);
	},
);

test.each([2, 3])("%i pictures at once keep within what is forecast, the last one's opening, too", async (slots) => {
	const plan = policies.exact.plan(model.info, {});
	const memory = memoryNeed(model, { slots }).total;
	const subject = { model, precision: "f32" as const, plan, textTokens: 24, memory, slots };
	const { forecast, total, again } = await countMemory(subject);
	expect(forecast.total).toBeLessThanOrEqual(memory);
	// The features that are given come on top.
	const features = slots * 4 * 24 * 2048;
	expect(total - features).toBeLessThanOrEqual(forecast.total);
	expect(total - features).toBeGreaterThan(forecast.phases.picture);
	expect(Math.abs(again / forecast.phases.picture - 1)).toBeLessThan(0.02);
});
