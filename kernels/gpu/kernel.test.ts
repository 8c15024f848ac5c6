import { afterAll, beforeAll, describe, expect, expectTypeOf, test, vi } from "vitest";
import type { Gpu } from "./gpu.ts";
import { type Bound, type Call, kernel, optional, read, struct, type Values, write } from "./kernel.ts";
import { openGpu } from "./native/open.ts";
import type { Tensor } from "./tensor.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

const POINT = struct("Point", { x: "u32", weight: "f32", label: "u32?" });

/** A stand-in that is never bound: the text depends on its dtype alone. */
const tensor = (dtype?: "f16"): Tensor => ({ buffer: {} as GPUBuffer, offset: 0, bytes: 16, shape: [4], dtype });
const text = ({ code }: { code: string }) => code.trim().split("\n").filter(Boolean);

describe("the text", () => {
	const adding = kernel({
		name: "add",
		params: { count: "u32", share: "f32" },
		bindings: { x: read("vec4"), bias: optional(read("f32")), points: read(POINT), y: write("vec4f") },
		enable: ({ lanes }: { lanes: number }) => (lanes === 4 ? ["f16", "subgroups"] : []),
		code: ({ lanes }: { lanes: number }, { x, bias }) => `// ${lanes} ${x} ${bias}`,
	});
	const bound = { x: tensor(), points: tensor(), y: tensor() };

	test("structs, parameters and bindings are declared and numbered; one that is left out takes no number", () => {
		expect(text(adding.program("label", { lanes: 1 }, bound, []))).toEqual([
			"struct Point {",
			"\tx: u32,",
			"\tweight: f32,",
			"\tlabel: u32,",
			"}",
			"struct Params {",
			"\tcount: u32,",
			"\tshare: f32,",
			"}",
			"@group(0) @binding(0) var<uniform> p: Params;",
			"@group(0) @binding(1) var<storage, read> x: array<vec4f>;",
			"@group(0) @binding(2) var<storage, read> points: array<Point>;",
			"@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;",
			"// 1 f32 undefined",
		]);
	});

	test("an f16 tensor brings its type and its extension, which is enabled once", () => {
		const lines = text(adding.program("label", { lanes: 4 }, { ...bound, x: tensor("f16"), bias: tensor() }, []));
		expect(lines.filter((line) => line.startsWith("enable"))).toEqual(["enable f16;", "enable subgroups;"]);
		expect(lines.slice(-5)).toEqual([
			"@group(0) @binding(1) var<storage, read> x: array<vec4h>;",
			"@group(0) @binding(2) var<storage, read> bias: array<f32>;",
			"@group(0) @binding(3) var<storage, read> points: array<Point>;",
			"@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;",
			"// 4 f16 f32",
		]);
	});

	test("without parameters the bindings begin at 0", () => {
		const clearing = kernel({ name: "clear", bindings: { y: write("u32") }, code: () => "// clears" });
		expect(text(clearing.program("label", undefined, { y: tensor() }, []))).toEqual([
			"@group(0) @binding(0) var<storage, read_write> y: array<u32>;",
			"// clears",
		]);
	});

	test("is made once for the same options and kinds of tensors, in whatever order the options come", () => {
		const code = vi.fn(({ a, b }: { a: number; b: number }) => `// ${a} ${b}`);
		const made = kernel({ name: "made", bindings: { x: read("vec4"), y: optional(write("f32")) }, code });
		const program = (options: { a: number; b: number }, x = tensor(), y?: Tensor) =>
			made.program("label", options, { x, y }, []);
		const first = program({ a: 1, b: 2 });
		expect(program({ b: 2, a: 1 })).toBe(first);
		expect(program({ a: 1, b: 2 }, tensor())).toBe(first);
		expect(code).toHaveBeenCalledOnce();
		const others = [
			program({ a: 2, b: 1 }),
			program({ a: 1, b: 2 }, tensor("f16")),
			program({ a: 1, b: 2 }, tensor(), tensor()),
			program({ a: 1, b: 2 }, tensor("f16"), tensor()),
		];
		expect(new Set([first, ...others]).size).toBe(5);
		expect(code).toHaveBeenCalledTimes(5);
	});

	test("a tensor that is missing, or f16 where the kernel reads f32, is refused by name", () => {
		const { x, ...rest } = bound;
		expect(() => adding.program("block 3", { lanes: 1 }, rest as typeof bound, [])).toThrow(/^block 3: add needs x\.$/);
		const wrong = { ...bound, y: tensor("f16") };
		expect(() => adding.program("block 3", { lanes: 1 }, wrong, [])).toThrow(/^block 3: add reads no f16 from y\.$/);
		expect(x.dtype).toBeUndefined();
	});
});

describe("names are checked by the compiler", () => {
	const params = { count: "u32", share: "f32", from: "u32?" } as const;
	const bindings = { x: read("f32"), bias: optional(read("f32")) };
	type P = typeof params;
	type B = typeof bindings;

	test("of parameters and of structs", () => {
		expectTypeOf<{ count: number; share: number }>().toExtend<Values<P>>();
		expectTypeOf<{ count: number; share: number; from: number }>().toExtend<Values<P>>();
		expectTypeOf<{ count: number }>().not.toExtend<Values<P>>();
		expectTypeOf<{ counts: number; share: number }>().not.toExtend<Values<P>>();
		expectTypeOf<keyof Values<P>>().toEqualTypeOf<"count" | "share" | "from">();
	});

	test("of bindings", () => {
		expectTypeOf<{ x: Tensor }>().toExtend<Bound<B>>();
		expectTypeOf<{ x: Tensor; bias: Tensor | undefined }>().toExtend<Bound<B>>();
		expectTypeOf<{ bias: Tensor }>().not.toExtend<Bound<B>>();
		expectTypeOf<keyof Bound<B>>().toEqualTypeOf<"x" | "bias">();
	});

	test("of options, all of which are given", () => {
		type Of<O extends object> = Call<P, B, O>;
		type Base = { label: string; params: { count: number; share: number }; bindings: { x: Tensor }; groups: [number] };
		expectTypeOf<Base>().toExtend<Of<object>>();
		expectTypeOf<Base>().not.toExtend<Of<{ add: boolean }>>();
		expectTypeOf<Base & { options: { add: boolean } }>().toExtend<Of<{ add: boolean }>>();
		expectTypeOf<Base & { options: { add: boolean } }>().not.toExtend<Of<{ add: boolean; lanes?: number }>>();
	});
});

describe("on the device", () => {
	test("parameters and rows of structs arrive as they were given, with no padding between", async () => {
		const y = gpu.tensor("y", [4, 4]);
		const reading = kernel({
			name: "read points",
			params: { offset: "f32", count: "u32", unused: "f32", more: "u32", last: "f32" },
			bindings: { points: read(POINT), y: write("vec4f") },
			code: () => `
@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.count) { return; }
	let point = points[id.x];
	y[id.x] = vec4f(f32(point.x), point.weight + p.offset, f32(point.label), f32(p.more) + p.last);
}`,
		});
		const pass = gpu.pass("test");
		const points = pass.rows(POINT, [
			{ x: 7, weight: 0.5, label: 3 },
			{ x: 8, weight: -1.25 },
			{ x: 4_000_000, weight: 1e-3, label: 1 },
		]);
		const params = { offset: 0.25, count: 3, unused: 9, more: 6, last: 0.5 };
		pass.run(reading, { label: "points", params, bindings: { points, y }, groups: [1] });
		pass.submit();
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([
			...[7, 0.75, 3, 6.5],
			...[8, -1, 0, 6.5],
			...[4_000_000, Math.fround(1e-3) + 0.25, 1, 6.5].map(Math.fround),
			...[0, 0, 0, 0],
		]);
		gpu.free(y);
	});

	test("the same options run the same pipeline, others another; a bind group is made for other parts", async () => {
		const [a, b] = [gpu.tensor("a", [4]), gpu.tensor("b", [4])];
		const storing = kernel({
			name: "store",
			params: { value: "f32" },
			bindings: { y: write("f32") },
			code: ({ twice }: { twice: boolean }) => `
@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) {
	y[id.x] = p.value${twice ? " * 2.0" : ""};
}`,
		});
		const pipelines = vi.spyOn(gpu.device, "createComputePipeline");
		const groups = vi.spyOn(gpu.device, "createBindGroup");
		const store = (y: Tensor, twice: boolean, value: number) => {
			const pass = gpu.pass("test");
			pass.run(storing, { label: "store", options: { twice }, params: { value }, bindings: { y }, groups: [1] });
			pass.submit();
		};
		for (let i = 0; i < 3; i++) {
			store(a, false, i);
			// At the same place of another buffer.
			store(b, false, 10 + i);
		}
		expect([pipelines.mock.calls.length, groups.mock.calls.length]).toEqual([1, 2]);
		const [first, second] = await gpu.read([a, b]);
		expect([...new Float32Array(first)]).toEqual([2, 2, 2, 2]);
		expect([...new Float32Array(second)]).toEqual([12, 12, 12, 12]);
		store(a, true, 3);
		expect([pipelines.mock.calls.length, groups.mock.calls.length]).toEqual([2, 3]);
		expect([...new Float32Array((await gpu.read([a]))[0])]).toEqual([6, 6, 6, 6]);
		vi.restoreAllMocks();
		gpu.free(a, b);
	});
});
