import { expect, test } from "vitest";
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
