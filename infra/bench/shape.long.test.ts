import { expect, test } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { INFINITY_2B, randomInfinity } from "./random-model.ts";
import { benchShape, extrapolate } from "./shape.ts";

const planOf = (name: string) => (info: ModelInfo) => policies[name].plan(info, {});
const infinity2b = (depth: number) => randomInfinity(INFINITY_2B, depth);

test("blocks that ran stand for all by their operations; scales that did not, by the rate", () => {
	const [part, whole] = [infinity2b(2), infinity2b(32)];
	const { scales, total_ms } = extrapolate(part, whole, planOf("exact"), [10, 20], 1e9);
	expect(scales).toHaveLength(13);
	// The head, run once, keeps it a little under 16.
	expect((scales[1].extrapolated_ms as number) / 20).toBeGreaterThan(15.9);
	expect((scales[1].extrapolated_ms as number) / 20).toBeLessThan(16);
	expect(scales[2].measured_ms).toBeNull();
	// 4x4 in both rows: 117 MFLOP a token and block, and attention.
	expect(scales[2].extrapolated_ms as number).toBeCloseTo(120.4, 0);
	expect(total_ms).toBeCloseTo(scales.reduce((sum, { extrapolated_ms }) => sum + (extrapolated_ms as number), 0));
	expect(extrapolate(part, whole, planOf("exact"), [], null).total_ms).toBeNull();
});

test("the published setting of StageVAR: text-free from width 40, low rank there, 48 and 64 left out", () => {
	const { scales } = extrapolate(infinity2b(4), infinity2b(32), planOf("stagevar-released"), [], null);
	expect(scales.map(({ grid }) => grid).at(-1)).toBe("40x40");
	expect(scales.at(-1)?.rows).toBe("uncond, 284 of 1600 tokens");
	expect(scales.at(-2)?.rows).toBe("both");
});

const gpu = await sharedGpu();

test("every policy named runs the scales asked for, low rank included, and those alone are measured", async () => {
	const shape = {
		name: "narrow",
		depth: 2,
		folder: (depth: number) => randomInfinity({ width: 8, heads: 1, ffn: 16, bits: 32 }, depth),
	};
	const names = ["exact", "stagevar", "stagevar-released"];
	const bytes = gpu.bytes;
	const none = await benchShape(gpu, { shape, policies: names, blocks: 1, scales: [8, 10], maxSeconds: 0.001 });
	expect(none.policies.map(({ policy, rounds }) => [policy, rounds])).toEqual(names.map((name) => [name, 0]));
	const timed = await benchShape(gpu, {
		shape,
		policies: names,
		blocks: 1,
		scales: [8, 10],
		maxSeconds: 600,
		rounds: 1,
	});
	expect(gpu.bytes).toBe(bytes);
	for (const { scales, rounds, total_ms } of timed.policies) {
		expect(rounds).toBe(1);
		expect(scales.filter(({ measured_ms }) => measured_ms !== null).map(({ scale }) => scale)).toEqual([8, 9, 10]);
		expect(total_ms).toBeGreaterThan(0);
	}
});
