import { describe, expect, test } from "vitest";
import { kernel, read, write } from "../gpu/kernel.ts";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, words } from "../testing.ts";
import { PHILOX, philox } from "./random.ts";

// Random123's kat_vectors for philox4x32-10: counter, key, answer.
const ones = 0xffffffff;
const VECTORS: [number[], number[], number[]][] = [
	[
		[0, 0, 0, 0],
		[0, 0],
		[0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
	],
	[
		[ones, ones, ones, ones],
		[ones, ones],
		[0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
	],
	[
		[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
		[0xa4093822, 0x299f31d0],
		[0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
	],
];

const gpu = await sharedGpu();

describe("philox", () => {
	test.each(VECTORS)("host: counter %j, key %j", (counter, key, answer) => {
		expect(philox(counter, key)).toEqual(answer);
	});

	test("device: the known answers, and the host's on many counters", async () => {
		const cases = VECTORS.map(([counter, key]) => [...counter, ...key, 0, 0]);
		for (let i = 0; i < 200; i++)
			cases.push([...philox([i, 1, 2, 3], [4, 5]), ...philox([i, 9, 9, 9], [4, 5]).slice(0, 2), 0, 0]);
		using bench = new Bench(gpu);
		const y = bench.empty(cases.length, 4);
		const drawing = kernel({
			name: "philox",
			params: { count: "u32" },
			bindings: { x: read("vec4u"), y: write("vec4u") },
			code: () => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x < p.count) { y[id.x] = philox(x[id.x * 2u], x[id.x * 2u + 1u].xy); }
}`,
		});
		const [out] = await bench.run(
			(pass) =>
				pass.run(drawing, {
					label: "philox",
					params: { count: cases.length },
					bindings: { x: pass.table(cases.flat()), y },
					groups: [Math.ceil(cases.length / 64)],
				}),
			y,
		);
		expect([...words(out)]).toEqual(cases.flatMap((c) => philox(c.slice(0, 4), c.slice(4, 6))));
		expect([...words(out).slice(0, 4)]).toEqual(VECTORS[0][2]);
	});

	test("uniforms stay inside (0, 1), also at both ends of the bits", async () => {
		const bits = [0, 1, 0xff, 0x100, 0x1ff, 0x200, 0x7fffffff, 0x80000000, 0x80000100, 0xfffffe00, 0xffffff00, ones];
		using bench = new Bench(gpu);
		const y = bench.empty(bits.length);
		const drawing = kernel({
			name: "uniform",
			params: { count: "u32" },
			bindings: { x: read("u32"), y: write("f32") },
			code: () => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x < p.count) { y[id.x] = uniform4(vec4u(x[id.x])).x; }
}`,
		});
		const params = { count: bits.length };
		const [out] = await bench.run(
			(pass) => pass.run(drawing, { label: "uniform", params, bindings: { x: pass.table(bits), y }, groups: [1] }),
			y,
		);
		for (const [i, u] of out.entries()) {
			expect(u).toBeGreaterThan(0);
			expect(u).toBeLessThan(1);
			expect(u).toBeCloseTo(bits[i] / 2 ** 32, 6);
		}
	});
});
