import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { copy } from "../tokens/gather.ts";
import { DeviceError, KernelError } from "./errors.ts";
import type { Gpu } from "./gpu.ts";
import { kernel, write } from "./kernel.ts";
import { openGpu } from "./native/open.ts";
import type { Pass } from "./pass.ts";
import type { Tensor } from "./tensor.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

const DOUBLE = `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x < p.count) { y[id.x] = y[id.x] * 2.0; }
}`;
/** A kernel of its own that doubles the first `count` floats, or does what another text says. */
const doubling = (text = DOUBLE) =>
	kernel({ name: "double", params: { count: "u32" }, bindings: { y: write("f32") }, code: () => text });
const double = doubling();
type Groups = Parameters<Pass["run"]>[1]["groups"];
const run = (pass: Pass, y: Tensor, count: number, groups: Groups = [1], label = "double", program = double) =>
	pass.run(program, { label, params: { count }, bindings: { y }, groups });

describe("tensors", () => {
	test("uploaded floats, integers and unsigned integers come back, several at once", async () => {
		const floats = gpu.upload("f", [5], new Float32Array([1.5, -2, 3, 0, 1e-30]));
		const ints = gpu.upload("i", [2], new Int32Array([-1, 7]));
		const words = gpu.upload("u", [6], new Uint32Array([1, 2, 3, 4, 5, 0xffffffff]));
		const [a, b, c] = await gpu.read([floats, ints, words]);
		expect([...new Float32Array(a)]).toEqual([1.5, -2, 3, 0, Math.fround(1e-30)]);
		expect([...new Int32Array(b, 0, 2)]).toEqual([-1, 7]);
		expect([...new Uint32Array(c)]).toEqual([1, 2, 3, 4, 5, 0xffffffff]);
		gpu.free(floats, ints, words);
	});

	test("a part of a buffer reads as a tensor", async () => {
		const whole = gpu.upload(
			"whole",
			[128],
			Float32Array.from({ length: 128 }, (_, i) => i),
		);
		const [part] = await gpu.read([{ ...whole, offset: 256, bytes: 32, shape: [8] }]);
		expect([...new Float32Array(part)]).toEqual([64, 65, 66, 67, 68, 69, 70, 71]);
		gpu.free(whole);
	});

	test("start zeroed, hold at least 16 bytes, and are counted until they are freed", async () => {
		const start = gpu.bytes;
		const small = gpu.tensor("small", [1]);
		const large = gpu.tensor("large", [3, 100]);
		expect(gpu.bytes - start).toBe(16 + 1200);
		const [zeros] = await gpu.read([large]);
		expect(new Float32Array(zeros).every((v) => v === 0)).toBe(true);
		expect(gpu.bytes - start).toBe(16 + 1200);
		gpu.free(small);
		expect(gpu.bytes - start).toBe(1200);
		gpu.free(large);
		expect(gpu.bytes).toBe(start);
	});

	test("beyond the adapter's limit say what to do, and count for nothing", () => {
		const start = gpu.bytes;
		const floats = gpu.device.limits.maxStorageBufferBindingSize / 4;
		expect(() => gpu.tensor("a huge one", [2, floats])).toThrow(DeviceError);
		expect(() => gpu.tensor("a huge one", [2, floats])).toThrow(
			/a huge one needs a buffer of \d+ bytes.*smaller model/,
		);
		expect(gpu.bytes).toBe(start);
	});
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

test("a bind group goes with any buffer that it binds, and with no other", async () => {
	const { device } = gpu;
	const make = device.createBindGroup.bind(device);
	const made: WeakRef<GPUBindGroup>[] = [];
	// By hand: a spy would keep what it returned.
	device.createBindGroup = (of) => {
		const group = make(of);
		made.push(new WeakRef(group));
		return group;
	};
	const stays = gpu.upload("stays", [4], new Float32Array([1, 1, 1, 1]));
	for (let i = 0; i < 20; i++) {
		const goes = gpu.tensor("goes", [4]);
		const pass = gpu.pass("test");
		run(pass, stays, 4);
		copy(pass, { x: stays, y: goes, count: 4, label: "copy" });
		pass.submit();
		expect([...new Float32Array((await gpu.read([goes]))[0])]).toEqual(Array(4).fill(2 ** (i + 1)));
		gpu.free(goes);
	}
	device.createBindGroup = make;
	expect(made.length).toBe(21);
	await vi.waitFor(() => {
		collect();
		// That which stays, and at most the last one that was asked for after it.
		expect(made.filter((group) => group.deref()).length).toBeLessThanOrEqual(2);
	});
	gpu.free(stays);
});

test("a read leaves nothing behind, however many there were", async () => {
	const small = gpu.tensor("small", [4]);
	const used = async (reads: number) => {
		for (let i = 0; i < reads; i++) await gpu.read([small]);
		collect();
		return process.memoryUsage().heapUsed;
	};
	await used(500);
	const before = await used(500);
	// What is compiled or kept once is some hundreds of kilobytes.
	expect((await used(5000)) - before).toBeLessThan(2 ** 20);
	gpu.free(small);
});

describe("passes", () => {
	test("dispatches see the ones before them; tables and parameters are of their own submission", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		// Both recorded before either is submitted: they share the arena.
		const [first, second] = [gpu.pass("first"), gpu.pass("second")];
		for (let i = 0; i < 3; i++) run(first, y, 4);
		run(second, y, 2);
		first.submit();
		second.submit();
		const [out] = await gpu.read([y]);
		expect([...new Float32Array(out)]).toEqual([16, 32, 24, 32]);
		gpu.free(y);
	});

	test("parameters keep their type", async () => {
		const y = gpu.tensor("y", [4]);
		const storing = kernel({
			name: "params",
			params: { a: "u32", b: "f32", c: "u32", d: "f32", e: "u32" },
			bindings: { y: write("vec4f") },
			code: () => "@compute @workgroup_size(1) fn main() { y[0] = vec4f(f32(p.a), p.b, f32(p.c) + p.d, f32(p.e)); }",
		});
		const pass = gpu.pass("test");
		const params = { a: 3, b: 0.25, c: 7, d: -1.5, e: 9 };
		pass.run(storing, { label: "params", params, bindings: { y }, groups: [1] });
		pass.submit();
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([3, 0.25, 5.5, 9]);
		gpu.free(y);
	});

	test("what only a pass needs is freed with it, whether it was submitted or not", () => {
		const before = gpu.bytes;
		const held = (pass: Pass) => [pass.scratch("sums", [64]), pass.own(gpu.tensor("raw", [64]))];
		const submitted = gpu.pass("submitted");
		held(submitted);
		expect(gpu.bytes - before).toBe(2 * 256);
		submitted.submit();
		expect(gpu.bytes).toBe(before);
		const failing = () => {
			using pass = gpu.pass("dropped");
			held(pass);
			throw new RangeError("half-way");
		};
		expect(failing).toThrow("half-way");
		expect(gpu.bytes).toBe(before);
	});

	test("no workgroups are no dispatch, and an empty pass is fine", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const pass = gpu.pass("test");
		run(pass, y, 4, [0]);
		run(pass, y, 4, [1, 0]);
		pass.submit();
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
		gpu.free(y);
	});

	test("tables beyond an arena lie in another, and one that no arena holds is refused", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const [first, second] = [gpu.pass("first"), gpu.pass("second")];
		run(first, y, 3);
		first.table(new Uint32Array(2 ** 21 - 128));
		run(first, y, 4);
		for (let i = 0; i < 3; i++) {
			first.table(new Uint32Array(2 ** 20));
			run(first, y, 2);
		}
		run(second, y, 4);
		expect(() => first.table(new Uint32Array(2 ** 21 + 1))).toThrow(/at most 8388608 are possible/);
		first.submit();
		second.submit();
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([64, 128, 24, 16]);
		gpu.free(y);
	});

	test("a kernel compiles once, and bind groups are made once", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const pipelines = vi.spyOn(gpu.device, "createComputePipeline");
		const groups = vi.spyOn(gpu.device, "createBindGroup");
		const own = doubling();
		for (let i = 0; i < 3; i++) {
			const pass = gpu.pass("test");
			run(pass, y, 4, [1], `double ${i}`, own);
			pass.submit();
		}
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([8, 16, 24, 32]);
		expect([pipelines.mock.calls.length, groups.mock.calls.length]).toEqual([1, 1]);
		vi.restoreAllMocks();
		gpu.free(y);
	});
});

describe("compiling ahead", () => {
	test("runs nothing, reads zeros, and leaves nothing to compile", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const own = doubling();
		const record = () => {
			const pass = gpu.pass("test");
			run(pass, y, 4, [1], "double", own);
			return pass.submit([y]);
		};
		let read: Promise<ArrayBuffer[]> | undefined;
		await gpu.compile(gpu.rehearse(() => (read = record())));
		expect([...new Float32Array((await read)?.[0] as ArrayBuffer)]).toEqual([0, 0, 0, 0]);
		const pipelines = vi.spyOn(gpu.device, "createComputePipeline");
		expect([...new Float32Array((await record())[0])]).toEqual([2, 4, 6, 8]);
		expect(pipelines).not.toHaveBeenCalled();
		vi.restoreAllMocks();
		gpu.free(y);
	});

	test("WGSL that is refused rejects with the compiler's message and the source; others go on", async () => {
		const wrong = doubling(DOUBLE.replace("* 2.0", "* missing"));
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const compiling = gpu.compile(gpu.rehearse(() => run(gpu.pass("test"), y, 4, [1], "wrong one", wrong)));
		await expect(compiling).resolves.toBeUndefined(); // Never submitted, so never asked for.
		const submitted = gpu.compile(
			gpu.rehearse(() => {
				const pass = gpu.pass("test");
				run(pass, y, 4, [1], "wrong one", wrong);
				pass.submit();
			}),
		);
		await expect(submitted).rejects.toThrow(/^wrong one: [\s\S]*missing[\s\S]*5\t/);
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
		gpu.free(y);
	});
});

describe("a refused program", () => {
	const wrong = (label: string) => ({ label, program: doubling(DOUBLE.replace("* 2.0", `* missing_in_${label}`)) });
	const good = { label: "double", program: double };
	const submit = ({ label, program }: typeof good, y: Tensor) => {
		const pass = gpu.pass(label);
		run(pass, y, 4, [1], label, program);
		pass.submit();
	};

	test("fails the read of its own submission, and no work that does not use it", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const pass = gpu.pass("test");
		run(pass, y, 4, [1], "twice", wrong("twice").program);
		const refused = expect(pass.submit([y])).rejects.toThrow(KernelError);
		// Submitted and read while it is not known yet that the other is refused.
		submit(good, y);
		const [doubled] = await gpu.read([y]);
		await refused;
		expect([...new Float32Array(doubled)]).toEqual([2, 4, 6, 8]);
		submit(good, y);
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([4, 8, 12, 16]);
		gpu.free(y);
	});

	test("submitted without a read, it fails the next one, once", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		submit(wrong("unread"), y);
		await expect(gpu.read([y])).rejects.toThrow(/^unread: [\s\S]*missing_in_unread/);
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
		gpu.free(y);
	});

	test("is refused again with the compiler's message, each time, without being compiled or encoded again", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const again = wrong("again");
		submit(again, y);
		await expect(gpu.read([y])).rejects.toThrow(/missing_in_again/);
		const created = [
			vi.spyOn(gpu.device, "createComputePipeline"),
			vi.spyOn(gpu.device, "createComputePipelineAsync"),
			vi.spyOn(gpu.device, "createCommandEncoder"),
		];
		const pass = gpu.pass("test");
		run(pass, y, 4, [1], "again", again.program);
		await expect(pass.submit([y])).rejects.toThrow(/^again: [\s\S]*missing_in_again/);
		await expect(gpu.compile(gpu.rehearse(() => submit(again, y)))).rejects.toThrow(/missing_in_again/);
		for (const spy of created) expect(spy).not.toHaveBeenCalled();
		vi.restoreAllMocks();
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
		gpu.free(y);
	});

	test("a wrong dispatch, and a wrong write outside any submission, fail one read and no other", async () => {
		const y = gpu.upload("y", [4], new Float32Array([1, 2, 3, 4]));
		const pass = gpu.pass("test");
		copy(pass, { x: y, y, count: 4, label: "copy onto itself" });
		pass.submit();
		await expect(gpu.read([y])).rejects.toThrow(KernelError);
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
		const encoder = gpu.device.createCommandEncoder({ label: "wrong copy" });
		encoder.copyBufferToBuffer(y.buffer, 0, y.buffer, 0, 16);
		gpu.device.queue.submit([encoder.finish()]);
		await expect(gpu.read([y])).rejects.toThrow(KernelError);
		expect([...new Float32Array((await gpu.read([y]))[0])]).toEqual([1, 2, 3, 4]);
		gpu.free(y);
	});
});

describe("failures, each on a device of its own", () => {
	test("WGSL that is refused: the compiler's message and the numbered source at read", async () => {
		const own = await openGpu();
		const y = own.tensor("y", [4]);
		const start = own.bytes;
		const pass = own.pass("test");
		run(pass, y, 4, [1], "wrong one", doubling(DOUBLE.replace("* 2.0", "* missing")));
		pass.submit();
		const error: Error = await own.read([y]).then(
			() => expect.fail("read must throw"),
			(e) => e,
		);
		expect(error).toBeInstanceOf(KernelError);
		expect(error.message).toMatch(/^wrong one: /);
		expect(error.message).toContain("missing");
		expect(error.message).toMatch(/^\d+\t\tif \(id\.x < p\.count\) \{ y\[id\.x\] = y\[id\.x\] \* missing; \}$/m);
		expect(own.bytes).toBe(start);
		own.destroy();
	});

	test("a wrong dispatch: what WebGPU says, at read", async () => {
		const own = await openGpu();
		const y = own.tensor("y", [4]);
		const pass = own.pass("test");
		copy(pass, { x: y, y, count: 4, label: "copy onto itself" });
		pass.submit();
		await expect(own.read([y])).rejects.toThrow(KernelError);
		own.destroy();
	});

	test("a lost device: DeviceError from read and pass", async () => {
		const own = await openGpu();
		const y = own.tensor("y", [4]);
		const reading = own.read([y]);
		own.destroy();
		await expect(reading).rejects.toThrow(DeviceError);
		expect(await own.lost).toMatch(/destroyed/);
		expect(() => own.pass("test")).toThrow(DeviceError);
		await expect(own.read([y])).rejects.toThrow(DeviceError);
	});
});
