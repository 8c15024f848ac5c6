import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import { copy, gatherRows, packRgb, subtractFrom } from "./gather.ts";

const gpu = await sharedGpu();

const INDEX = [3, 0, 0, 6, 2, 5, 6, 1, 4, 3, 3];
const EXTRA = [1, 1, 0, 2, 0, 1, 2, 2, 0, 0, 1];

test.each([4, 36])("gatherRows, width %i, with and without an addend", async (width) => {
	using bench = new Bench(gpu);
	const count = INDEX.length;
	const x = bench.random(7, width);
	const extra = bench.random(3, width);
	const [plain, sum] = [bench.empty(count, width), bench.empty(count, width)];
	const [a, b] = await bench.run(
		(pass) => {
			const [index, extraIndex] = [pass.table(INDEX), pass.table(EXTRA)];
			gatherRows(pass, { x: x.tensor, index, y: plain, count, width, label: "gather" });
			gatherRows(pass, {
				x: x.tensor,
				index,
				y: sum,
				count,
				width,
				extra: { table: extra.tensor, index: extraIndex },
				label: "gather",
			});
		},
		plain,
		sum,
	);
	const at = (data: Float32Array, row: number, i: number) => data[row * width + (i % width)];
	expect(
		maxError(
			a,
			a.map((_, i) => at(x.data, INDEX[Math.floor(i / width)], i)),
		),
	).toBe(0);
	expect(
		maxError(
			b,
			b.map((_, i) => at(x.data, INDEX[Math.floor(i / width)], i) + at(extra.data, EXTRA[Math.floor(i / width)], i)),
		),
	).toBe(0);
});

test("gatherRows of a table in parts: the rows of all of them", async () => {
	using bench = new Bench(gpu);
	const [width, count] = [12, INDEX.length];
	const x = bench.random(7, width).data;
	const part = (from: number, to: number) => bench.put(x.slice(from * width, to * width), [to - from, width]).tensor;
	const table = { ...part(0, 3), next: { ...part(3, 5), next: part(5, 7) } };
	const y = bench.empty(count, width);
	const [rows] = await bench.run(
		(pass) => gatherRows(pass, { x: table, index: pass.table(INDEX), y, count, width, label: "gather" }),
		y,
	);
	expect([...rows]).toEqual(INDEX.flatMap((row) => [...x.slice(row * width, (row + 1) * width)]));
});

test("more than 65535 workgroups of elements: gathered, then copied", async () => {
	using bench = new Bench(gpu);
	const [count, width] = [17, 1 << 20];
	const x = bench.put(new Uint32Array(2 * width).map((_, i) => i));
	const [gathered, copied] = [bench.empty(count, width), bench.empty(count, width)];
	const [out] = await bench.run((pass) => {
		const index = pass.table(Array.from({ length: count }, (_, i) => i % 2));
		gatherRows(pass, { x: x.tensor, index, y: gathered, count, width, label: "gather" });
		copy(pass, { x: gathered, y: copied, count: count * width, label: "copy" });
	}, copied);
	expect(words(out).findIndex((word, i) => word !== i % (2 * width))).toBe(-1);
});

describe("copy", () => {
	test("a part to a place, the rest untouched, the count rounded up to 4", async () => {
		using bench = new Bench(gpu);
		const x = bench.random(64);
		const y = bench.random(48);
		const [out] = await bench.run(
			(pass) => copy(pass, { x: x.tensor, from: 12, y: y.tensor, to: 8, count: 21, label: "copy" }),
			y.tensor,
		);
		const expected = y.data.slice();
		expected.set(x.data.subarray(12, 36), 8);
		expect(words(out)).toEqual(words(expected));
	});

	test("keeps the bits of integers and of what is no number", async () => {
		using bench = new Bench(gpu);
		const x = bench.put(new Uint32Array([1, 0x7fc12345, 0xff800001, 0x80000000, 0xffffffff, 0, 7, 0x00000002]));
		const y = bench.empty(8);
		const [out] = await bench.run((pass) => copy(pass, { x: x.tensor, y, count: 8, label: "copy" }), y);
		expect(words(out)).toEqual(x.data);
	});

	test("nothing to copy is no dispatch", async () => {
		using bench = new Bench(gpu);
		const [x, y] = [bench.random(4), bench.random(4)];
		const [out] = await bench.run(
			(pass) => copy(pass, { x: x.tensor, y: y.tensor, count: 0, label: "copy" }),
			y.tensor,
		);
		expect(out).toEqual(y.data);
	});
});

test("subtractFrom: a part of x less a part of y, in place, the rest untouched", async () => {
	using bench = new Bench(gpu);
	const [x, y] = [bench.random(64), bench.random(48)];
	const [out] = await bench.run(
		(pass) => subtractFrom(pass, { x: x.tensor, from: 12, y: y.tensor, to: 8, count: 20, label: "subtract" }),
		y.tensor,
	);
	const expected = y.data.slice();
	for (let i = 0; i < 20; i++) expected[8 + i] = x.data[12 + i] - y.data[8 + i];
	expect(words(out)).toEqual(words(expected));
});

test.each([4, 8])("packRgb from %i channels: clamped, rounded, opaque", async (channels) => {
	using bench = new Bench(gpu);
	const pixels = 70;
	const x = bench.put(bench.random(pixels, channels).data.map((v) => v * 1.5));
	x.data.set([-1, 0, 1]);
	gpu.device.queue.writeBuffer(x.tensor.buffer, 0, x.data);
	const y = bench.empty(pixels);
	const [out] = await bench.run((pass) => packRgb(pass, { x: x.tensor, y, pixels, channels, label: "pack" }), y);
	const bytes = new Uint8Array(out.buffer, 0, pixels * 4);
	for (let i = 0; i < pixels; i++) {
		for (let c = 0; c < 3; c++) {
			const exact = (Math.min(Math.max(x.data[i * channels + c], -1), 1) * 0.5 + 0.5) * 255;
			expect(Math.abs(bytes[i * 4 + c] - exact)).toBeLessThan(0.5001);
		}
		expect(bytes[i * 4 + 3]).toBe(255);
	}
	expect([bytes[0], bytes[2]]).toEqual([0, 255]);
});
