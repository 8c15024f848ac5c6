import { expect, test } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { type ProfileReport, profile, profileHost } from "./profile.ts";
import { INFINITY_2B, randomInfinity } from "./random-model.ts";
import { profileText } from "./tables.ts";

const gpu = await sharedGpu();

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

function check({ policies: [{ picture, scales, operators, dispatches, submissions }] }: ProfileReport): void {
	expect(sum(scales.map((scale) => scale.dispatches))).toBe(dispatches);
	expect(sum(operators.map((operator) => operator.dispatches))).toBe(dispatches);
	for (const scale of scales)
		expect(sum(scale.operators.map((operator) => operator.dispatches))).toBe(scale.dispatches);
	expect(scales.length).toBeLessThanOrEqual(submissions);
	for (const part of ["record_ms", "encode_ms", "submit_ms", "copy_ms"] as const) {
		expect(picture[part]).toBeGreaterThan(0);
		expect(sum(scales.map((scale) => scale[part]))).toBeCloseTo(picture[part], 6);
	}
	expect(picture.wall_ms).toBeGreaterThan(picture.record_ms + picture.encode_ms);
	expect(picture.cpu_ms).toBeGreaterThan(0);
}

test("a picture on the adapter: every dispatch has its time, by operator and by scale", async () => {
	const bytes = gpu.bytes;
	const report = await profile(gpu, await openModelFolder(findModel("tiny")), { policies: ["exact"], pictures: 2 });
	expect([gpu.bytes, gpu.profiler]).toEqual([bytes, undefined]);
	check(report);
	const [{ scales, operators }] = report.policies;
	expect(scales.map(({ submission }) => submission)).toContain("round of 0");
	for (const { device_ms } of [...scales, ...operators]) expect(device_ms).toBeGreaterThanOrEqual(0);
	expect(sum(scales.map(({ device_ms }) => device_ms as number))).toBeGreaterThan(0);
	expect(operators.map(({ device_ms }) => device_ms)).toEqual(
		operators.map(({ device_ms }) => device_ms as number).toSorted((a, b) => b - a),
	);
	expect(operators.map(({ operator }) => operator)).toContain("block # sa.mat_qkv");
	const text = profileText(report);
	expect(text).toMatch(/^tiny: 2 pictures a policy; host times are the least; device times, medians, by the /);
	expect(text).toMatch(/\nround of 0 .*\n/);
	expect(text).toMatch(/\nblock # sa\.mat_qkv .* %\n/);

	// Without an adapter the host records the very same work.
	const host = await profileHost(await openModelFolder(findModel("tiny")), { policies: ["exact"], pictures: 2 });
	check(host);
	const counted = ({ policies: [{ operators }] }: ProfileReport) =>
		new Map(operators.map(({ operator, dispatches }) => [operator, dispatches]));
	expect(counted(host)).toEqual(counted(report));
	expect(host.policies[0].operators.every(({ device_ms }) => device_ms === null)).toBe(true);
	expect(profileText(host)).toContain("the device was not timed");
});

test("the host's part of all of Infinity-2B, whose weights no machine here would hold", async () => {
	const report = await profileHost(randomInfinity(INFINITY_2B, 32), { policies: ["exact", "stagevar"], pictures: 1 });
	check(report);
	const [exact, stagevar] = report.policies;
	expect(exact.scales.map(({ submission }) => submission)).toEqual([
		...Array.from({ length: 13 }, (_, scale) => `round of ${scale}`),
		"pictures of 64x64",
	]);
	// One self attention a block and scale, of each guidance row by itself at the last two, where both are more than is
	// made at a time; what StageVAR reduces takes dispatches of its own.
	expect(exact.operators.find(({ operator }) => operator === "block # sa")?.dispatches).toBe(32 * (11 + 2 * 2));
	const own = new Set(stagevar.operators.map(({ operator }) => operator)).difference(
		new Set(exact.operators.map(({ operator }) => operator)),
	);
	expect([...own].filter((operator) => /project|positions/.test(operator)).length).toBeGreaterThan(0);
});
