import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Gpu } from "../../../kernels/gpu/gpu.ts";
import { openGpu } from "../../../kernels/gpu/native/open.ts";
import { KeyValueStore } from "./key-value-store.ts";

const WIDTH = 8;
const KEY_BYTES = 2 * WIDTH * 4;
let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu({ binding: 100 * KEY_BYTES, buffer: 100 * KEY_BYTES });
});
afterAll(() => gpu.destroy());

test("grows with what it holds, by all of a picture's ranges at once", async () => {
	using store = new KeyValueStore(gpu, 2, WIDTH, "f32");
	expect(store.growth([[3, 4], []]).map(({ shape }) => shape)).toEqual([[7, 2 * WIDTH]]);
	expect(store.take([[3, 4], []])).toEqual([[0, 3], []]);
	gpu.write(
		store.tensor(0),
		0,
		Float32Array.from({ length: 7 * 2 * WIDTH }, (_, i) => i),
	);
	expect(store.growth([[], []])).toEqual([]);
	expect(store.take([[20], [5]])).toEqual([[7], [0]]);
	const [held] = await gpu.read([store.tensor(0)]);
	expect(held.byteLength).toBe(27 * KEY_BYTES);
	expect([...new Float32Array(held, 0, 7 * 2 * WIDTH)]).toEqual(Array.from({ length: 7 * 2 * WIDTH }, (_, i) => i));
	store.give(0, 0, 3);
	expect(store.take([[2], []])).toEqual([[0], []]);
});

test("grows block by block where memory is short: old and new tensors of one block alone meet", async () => {
	using store = new KeyValueStore(gpu, 4, WIDTH, "f32");
	const all = (count: number) => [0, 1, 2, 3].map(() => [count]);
	// Nothing is there yet that a new one would lie beside.
	expect(store.slowGrowth(all(40)).map(({ shape }) => shape[0])).toEqual([40, 40, 40, 40]);
	store.take(all(40));
	const floats = Float32Array.from({ length: 40 * 2 * WIDTH }, (_, i) => i);
	for (const block of [0, 1, 2, 3]) gpu.write(store.tensor(block), 0, floats);
	const before = gpu.bytes;
	// By 20 keys in each block, and one of 60 beside the 40 that it takes the place of.
	expect(store.slowGrowth(all(20)).map(({ shape }) => shape[0])).toEqual([20, 20, 20, 20, 60]);
	const held: number[] = [];
	vi.spyOn(gpu, "reclaim").mockImplementation(async () => void held.push((gpu.bytes - before) / KEY_BYTES));
	await store.growSlowly(all(20));
	vi.restoreAllMocks();
	expect(held).toEqual([20, 40, 60, 80]);
	expect([store.growth(all(20)), store.slowGrowth(all(20))]).toEqual([[], []]);
	expect(store.take(all(20))).toEqual(all(40));
	for (const block of [0, 1, 2, 3]) {
		const [read] = await gpu.read([store.tensor(block)]);
		expect(new Float32Array(read, 0, floats.length)).toEqual(floats);
	}
});

test("a growth that the adapter refuses leaves it as it was: no range is beyond its buffer", () => {
	using store = new KeyValueStore(gpu, 2, WIDTH, "f32");
	store.take([[60], [60]]);
	const before = gpu.bytes;
	// The first block could grow, the second cannot.
	expect(() => store.take([[10], [60]])).toThrow(/keys and values 1 needs a buffer of/);
	expect(() => store.take([[60], [10]])).toThrow(/keys and values 0 needs a buffer of/);
	expect(gpu.bytes).toBe(before);
	for (const count of [30, 40]) {
		const [[start]] = store.take([[count], []]);
		expect((start + count) * KEY_BYTES).toBeLessThanOrEqual(store.tensor(0).bytes);
		store.give(0, start, count);
	}
});

test("gives its memory up", () => {
	using store = new KeyValueStore(gpu, 2, WIDTH, "f32");
	const before = gpu.bytes;
	const taken = store.take([[8], [9]]);
	taken.forEach(([start], block) => store.give(block, start, [8, 9][block]));
	store.clear();
	expect(gpu.bytes).toBe(before);
	expect(store.take([[8], []])).toEqual([[0], []]);
});

test("what no buffer holds lies in banks: ranges within them, grown and read back where they are", async () => {
	const width = 64;
	const bytes = 100 * 2 * width * 4;
	const small = new Gpu(gpu.device, gpu.facts, bytes, bytes);
	using store = new KeyValueStore(small, 1, width, "f32");
	expect(store.bank).toBe(100);
	expect(store.take([[60]])).toEqual([[0]]);
	const floats = Float32Array.from({ length: 60 * 2 * width }, (_, i) => i);
	small.write(store.tensor(0), 0, floats);
	// The first bank grows to what it holds, and a second one begins; what is left of the first is found again.
	expect(store.growth([[70, 40]]).map(({ shape }) => shape[0])).toEqual([100, 70]);
	expect(store.take([[70, 40]])).toEqual([[100, 60]]);
	expect(store.at(0, 100)).toEqual({ tensor: store.tensor(0, 1), key: 0 });
	expect(store.at(0, 99)).toEqual({ tensor: store.tensor(0), key: 99 });
	const [held] = await small.read([store.tensor(0)]);
	expect(new Float32Array(held, 0, floats.length)).toEqual(floats);
	store.give(0, 60, 40);
	store.give(0, 100, 70);
	// Neighbours of two banks are two ranges.
	expect(store.take([[90, 40]])).toEqual([[100, 60]]);
	expect(() => store.take([[101]])).toThrow(/keys and values 0 needs a buffer of/);
});

test.each(["int8", "int4"] as const)("packed in %s: put, grown, moved and unpacked", async (precision) => {
	const width = 64;
	using store = new KeyValueStore(gpu, 2, width, precision);
	expect(store.growth([[3, 4], [2]]).map(({ label, shape }) => [label, shape[0]])).toEqual([
		["keys and values 0", 7],
		["keys and values 1", 2],
		["keys and values unpacked", 4],
	]);
	expect(store.take([[3, 4], [2]])).toEqual([[0, 3], [0]]);
	expect(store.unpacked?.shape).toEqual([4, 2 * width]);
	const data = Float32Array.from({ length: 4 * 2 * width }, (_, i) => Math.sin(i));
	const x = gpu.upload("rows", [4, 2 * width], data);
	const pass = gpu.pass("put");
	store.put(pass, { x, block: 0, key: 3, count: 4, label: "put" });
	pass.submit();
	store.take([[9], []]);
	const read = gpu.pass("unpack");
	const y = store.unpacked as NonNullable<typeof store.unpacked>;
	store.unpack(read, { block: 0, bank: 0, key: 4, count: 3 }, y, 1);
	const [back] = await read.submit([y]);
	const most = precision === "int8" ? 0.006 : 0.15;
	new Float32Array(back).forEach((value, i) => {
		if (i >= 2 * width && i < 8 * width) expect(Math.abs(value - data[i])).toBeLessThan(most);
	});
	gpu.free(x);
	const before = gpu.bytes;
	store.give(0, 0, 3);
	expect(store.growth([[3], []])).toEqual([]);
	expect(gpu.bytes).toBe(before);
});
