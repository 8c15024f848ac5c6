/**
 * Half precision, where the adapter has it: f16 storage, f16 inputs of the multiply, f32 sums. SwiftShader has none. Of
 * software adapters Mesa's lavapipe has (25.0 by Dawn, 22.3 by Deno's wgpu alone): with `VK_DRIVER_FILES` naming its
 * lvp_icd.json these tests run on a CPU. Its compiler takes f32(f16(x)) for x, to the last bit: where an adapter does,
 * which is tried out first, the left factors of a product are expected as they are.
 */
import { describe, expect, test, vi } from "vitest";
import { attention } from "./attention/attention.ts";
import { rotateAndCache } from "./attention/rope.ts";
import { DeviceError } from "./gpu/errors.ts";
import { Gpu } from "./gpu/gpu.ts";
import { kernel, read, write } from "./gpu/kernel.ts";
import { NULL_FACTS, openNullDevice } from "./gpu/native/null-backend.ts";
import { sharedGpu } from "./gpu/native/testing.ts";
import { available } from "./gpu/variants.ts";
import { conv3x3, convWeight } from "./image/conv.ts";
import { matmul } from "./matmul/matmul.ts";
import { transposeWeight } from "./matmul/transpose.ts";
import { matmulVariants } from "./matmul/variants.ts";
import { Bench, maxError, randomFloats, words } from "./testing.ts";
import { copy } from "./tokens/gather.ts";
import { rowTable } from "./tokens/rows.ts";

const gpu = await sharedGpu();
const has = gpu.device.features.has("shader-f16");
const where = has ? `on ${gpu.facts.name}` : `SKIPPED, ${gpu.facts.name} has no shader-f16`;
const round = (values: Float32Array) => Float32Array.from(new Float16Array(values));
/** A left factor as it comes out of f32(f16(x)). */
const left = has && !(await roundsInRegisters()) ? (values: Float32Array) => values : round;
const half = (values: Float32Array) => new Float16Array(values) as Float16Array<ArrayBuffer>;

/** Whether this adapter rounds what goes from f32 to f16 and back without being stored. */
async function roundsInRegisters(): Promise<boolean> {
	const there = kernel({
		name: "there and back",
		bindings: { x: read("vec4f"), y: write("vec4f"), half: read("vec4") },
		code: () => "@compute @workgroup_size(1) fn main() { y[0] = vec4f(vec4h(x[0])) + 0 * vec4f(half[0]); }",
	});
	const values = new Float32Array([1 / 3, 1 / 5, 1 / 7, 1 / 9]);
	const [x, y] = [gpu.upload("x", [4], values), gpu.tensor("y", [4])];
	const zeros = gpu.tensor("half", [4], 0, "f16");
	const pass = gpu.pass("there and back");
	pass.run(there, { label: "there and back", bindings: { x, y, half: zeros }, groups: [1] });
	const out = new Float32Array((await pass.submit([y]))[0], 0, 4);
	gpu.free(x, y, zeros);
	// One or the other, and nothing between.
	const rounded = [...out].every((value, i) => value === round(values)[i]);
	expect(rounded || [...out].every((value, i) => value === values[i])).toBe(true);
	return rounded;
}

test.runIf(!has)("f16 on an adapter without it is refused with what to do", () => {
	const start = gpu.bytes;
	expect(() => gpu.upload("weights", [4], new Float16Array(4))).toThrow(DeviceError);
	expect(() => gpu.tensor("cache", [4], 0, "f16")).toThrow(
		/cache is to be f16, but this adapter .* has no shader-f16\. Use f32/,
	);
	expect(gpu.bytes).toBe(start);
});

test("f16 of an even and of an odd length is handed to a device that has it, and nothing complains", async () => {
	// Which keeps no data, but takes and checks it as any of Dawn's does.
	const none = new Gpu(await openNullDevice(), NULL_FACTS);
	const written = vi.spyOn(none.device.queue, "writeBuffer");
	const values = [0.5, -2, 65504, 6e-8, 1 / 3];
	const tensors = [4, 5].map((length) => none.upload("f16", [length], new Float16Array(values.slice(0, length))));
	const halves = written.mock.calls.map(([, , data]) => [...new Float16Array((data as Uint16Array).buffer)]);
	expect(halves).toEqual([[...new Float16Array(values.slice(0, 4))], [...new Float16Array([...values, 0])]]);
	expect((await none.read(tensors)).map(({ byteLength }) => byteLength)).toEqual([16, 16]);
	vi.restoreAllMocks();
	none.destroy();
});

describe.skipIf(!has)(`half precision ${where}`, () => {
	test("tensors take two bytes an element, in whole words", () => {
		const start = gpu.bytes;
		const tensor = gpu.tensor("half", [25], 0, "f16");
		expect(gpu.bytes - start).toBe(52);
		gpu.free(tensor);
	});

	test("matmul: rounded inputs, f32 sums, in every variant the same bits", async () => {
		using bench = new Bench(gpu);
		const [m, k, n] = [19, 260, 36];
		const x = bench.random(m, k);
		const official = randomFloats(n * k, 99);
		const weight = gpu.upload("w", [k, n], half(transposeWeight(official, n, k)));
		const [rx, rw] = [left(x.data), round(official)];
		const expected = Array.from({ length: m * n }, (_, i) => {
			let sum = 0;
			for (let j = 0; j < k; j++) sum += rx[Math.floor(i / n) * k + j] * rw[(i % n) * k + j];
			return sum;
		});
		const outputs = [];
		for (const variant of matmulVariants.filter((variant) => available(gpu, variant))) {
			const y = bench.empty(m, n);
			const [out] = await bench.run(
				(pass) => matmul(pass, { x: x.tensor, weight, y, m, k, n, label: "half", variant }),
				y,
			);
			expect(maxError(out, expected)).toBeLessThan(2e-5);
			outputs.push(words(out));
		}
		for (const output of outputs) expect(output).toEqual(outputs[0]);
		gpu.free(weight);
	});

	test("convolution", async () => {
		using bench = new Bench(gpu);
		const [height, width, channels] = [5, 6, 8];
		const x = bench.random(height * width, channels);
		const official = randomFloats(channels * channels * 9, 7);
		const weight = gpu.upload("w", [official.length], half(convWeight(official, channels, channels)));
		const bias = bench.random(channels);
		const y = bench.empty(height * width, channels);
		const [out] = await bench.run(
			(pass) =>
				conv3x3(pass, {
					x: x.tensor,
					y,
					weight,
					bias: bias.tensor,
					images: [{ pixel: 0, height, width }],
					inChannels: channels,
					outChannels: channels,
					label: "half",
				}),
			y,
		);
		const [rx, rw] = [left(x.data), round(official)];
		const expected = Array.from({ length: height * width * channels }, (_, i) => {
			const [pixel, o] = [Math.floor(i / channels), i % channels];
			let sum = bias.data[o];
			for (let tap = 0; tap < 9; tap++) {
				const [sy, sx] = [Math.floor(pixel / width) + Math.floor(tap / 3) - 1, (pixel % width) + (tap % 3) - 1];
				if (sy < 0 || sy >= height || sx < 0 || sx >= width) continue;
				for (let c = 0; c < channels; c++)
					sum += rx[(sy * width + sx) * channels + c] * rw[(o * channels + c) * 9 + tap];
			}
			return sum;
		});
		expect(maxError(out, expected)).toBeLessThan(2e-5);
		gpu.free(weight);
	});

	test("copies convert between f32 and f16, a part to a place", async () => {
		const values = Float32Array.from({ length: 16 }, (_, i) => (i - 7) / 3);
		const [x, half, back] = [
			gpu.upload("x", [16], values),
			gpu.tensor("half", [16], 0, "f16"),
			gpu.tensor("back", [8]),
		];
		const pass = gpu.pass("copies");
		copy(pass, { x, from: 4, y: half, to: 8, count: 8, label: "to f16" });
		copy(pass, { x: half, from: 8, y: back, count: 8, label: "to f32" });
		const [out] = await pass.submit([back]);
		expect([...new Float32Array(out)]).toEqual([...Float32Array.from(Float16Array.from(values.subarray(4, 12)))]);
		gpu.free(x, half, back);
	});

	test("keys and values cached as f16 are the rounded ones, and attention reads them", async () => {
		using bench = new Bench(gpu);
		const [heads, headDim, tokens] = [2, 16, 9];
		const width = heads * headDim;
		const qkv = bench.random(tokens, 3 * width).data;
		const cosSin = bench.random(tokens, headDim).tensor;
		const scaleMul = bench.random(heads).tensor;
		const rows = [{ token: 0, tokens, cond: 0, rope: 0, key: 0, keys: tokens, append: 0 }];
		const run = async (dtype?: "f16") => {
			const cache = gpu.tensor("cache", [tokens, 2 * width], 0, dtype);
			const q = bench.put(qkv).tensor;
			const y = bench.empty(tokens, width);
			const [out] = await bench.run((pass) => {
				const table = rowTable(pass, rows);
				rotateAndCache(pass, {
					qkv: q,
					cache,
					cosSin,
					scaleMul,
					heads,
					headDim,
					rows: table,
					label: "rotate",
				});
				attention(pass, {
					q,
					qStride: 3 * width,
					kv: { tensor: cache, stride: 2 * width, key: 0, value: width },
					y,
					heads,
					headDim,
					scale: 1,
					rows: table,
					label: "attention",
				});
			}, y);
			const [bytes] = await gpu.read([cache]);
			gpu.free(cache);
			return { out, cached: dtype ? Float32Array.from(new Float16Array(bytes)) : new Float32Array(bytes) };
		};
		const [full, halved] = [await run(), await run("f16")];
		expect(maxError(halved.cached, round(full.cached))).toBeLessThan(1e-3);
		expect(maxError(halved.out, full.out)).toBeLessThan(5e-3);
		expect(maxError(halved.out, full.out)).toBeGreaterThan(0);
	});
});
