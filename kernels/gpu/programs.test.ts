import { expect, test, vi } from "vitest";
import type { Program } from "./kernel.ts";
import { sharedGpu } from "./native/testing.ts";
import { Programs } from "./programs.ts";

const { device } = await sharedGpu();

const program = (number: number): Program => ({
	name: `program ${number}`,
	code:
		"@group(0) @binding(0) var<storage, read_write> y: array<u32>;\n" +
		`@compute @workgroup_size(1) fn main() { y[0] = ${number}u; }`,
	bindings: 1,
});

test.each([true, false])("who waits for a program that is to be compiled waits for it; late: %s", async (late) => {
	const programs = new Programs(device, () => undefined, late);
	const [first, second, third] = [1, 2, 3].map(program);
	const done: number[] = [];
	const labels = new Map([first, second, third].map((program) => [program, program.name]));
	const all = programs.compile(labels, (count) => done.push(count));
	await programs.compiled([third]);
	expect(programs.get(third)).toBeDefined();
	await all;
	expect(done).toEqual([0, 1, 2, 3]);
	await programs.compiled([first, second, third]);
});

test("a driver that compiles late is given one program at a time, in their order", async () => {
	const programs = new Programs(device, () => undefined, true);
	let [running, most] = [0, 0];
	const order: string[] = [];
	const create = device.createComputePipelineAsync.bind(device);
	vi.spyOn(device, "createComputePipelineAsync").mockImplementation(async (described) => {
		most = Math.max(most, ++running);
		order.push(described.label as string);
		const pipeline = await create(described);
		running--;
		return pipeline;
	});
	const labels = new Map([4, 5, 6].map(program).map((program) => [program, program.name]));
	await programs.compile(labels, () => {});
	vi.restoreAllMocks();
	expect([most, order]).toEqual([1, ["program 4", "program 5", "program 6"]]);
});
