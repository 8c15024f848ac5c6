import { describe, expect, test } from "vitest";
import { Gpu } from "../gpu/gpu.ts";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, words } from "../testing.ts";
import { type PackedForm, packedForm, packKeys, unpackKeys } from "./packed-keys.ts";

const gpu = await sharedGpu();
const KEYS = 19;

/** A row packed as the comment of packed-keys.ts says, in f64 but where it says f16. */
function packed(row: Float32Array, { bits, group, words: count }: PackedForm): Uint32Array {
	const [least, most] = bits === 8 ? [-127, 127] : [-8, 7];
	const out = new Uint32Array(count);
	const scales: number[] = [];
	for (let at = 0; at < row.length; at += group) {
		const own = row.subarray(at, at + group);
		const [low, high] = [Math.min(...own), Math.max(...own)];
		const peak = bits === 8 ? Math.max(high, -low) / 127 : (-low > high ? low : high) / -8;
		const scale = new Float16Array([peak])[0];
		scales.push(scale);
		own.forEach((value, i) => {
			const near = scale === 0 ? 0 : value / scale;
			const whole = Math.max(
				least,
				Math.min(most, Math.abs(near % 1) === 0.5 ? 2 * Math.round(near / 2) : Math.round(near)),
			);
			const bit = (at + i) * bits;
			out[bit >> 5] |= (whole & (2 ** bits - 1)) << (bit & 31);
		});
	}
	const halves = new Uint16Array(new Float16Array(scales).buffer);
	for (let i = 0; i < halves.length; i += 2) out[(row.length * bits) / 32 + i / 2] = halves[i] | (halves[i + 1] << 16);
	return out;
}

/** Rows of numbers of very different size, one of zeros and one with a value beyond any other. */
function rows(bench: Bench, columns: number) {
	const { data } = bench.random(KEYS, columns);
	data.forEach((_, i) => (data[i] *= 4 ** ((i >> 3) % 7) / 100));
	data.fill(0, columns, 2 * columns);
	data[2 * columns + 3] = -1e4;
	return bench.put(data, [KEYS, columns]);
}

describe.each([8, 4] as const)("of %d bits", (bits) => {
	test.each([64, 48, 24, 8])("a width of %d: packed as said, and within half a scale of what it was", async (width) => {
		using bench = new Bench(gpu);
		const form = packedForm(width, bits) as PackedForm;
		// As keys and values stand in a projection, behind the queries.
		const [stride, at] = [3 * width, width];
		const x = rows(bench, stride);
		const store = bench.empty(KEYS + 5, form.words);
		const y = bench.empty(KEYS + 2, 2 * width);
		const [stored, back] = await bench.run(
			(pass) => {
				packKeys(pass, { x: x.tensor, from: 2, stride, at, y: store, to: 5, count: KEYS - 2, form, label: "pack" });
				unpackKeys(pass, { x: store, from: 6, y, to: 1, count: KEYS - 3, form, label: "unpack" });
			},
			store,
			y,
		);
		const at5 = words(stored).subarray(5 * form.words);
		expect(
			words(stored)
				.subarray(0, 5 * form.words)
				.every((word) => word === 0),
		).toBe(true);
		let [differ, all] = [0, 0];
		for (let key = 0; key < KEYS - 2; key++) {
			const row = x.data.subarray((key + 2) * stride + at, (key + 3) * stride);
			const expected = packed(row, form);
			const own = at5.subarray(key * form.words, (key + 1) * form.words);
			// The scales are exact but where a division is rounded; a number beside the middle may go to either side.
			expected.forEach((word, i) => (differ += Number(word !== own[i])));
			all += expected.length;
			if (key === 0) continue;
			const halves = new Float16Array(own.slice((2 * width * bits) / 32).buffer);
			row.forEach((value, i) => {
				const scale = Math.abs(halves[Math.floor(i / form.group)]);
				// Of four bits, what is as great as the peak on the other side has no number of its own; f16 rounds a scale.
				const most = bits === 8 ? 0.51 + 127 / 2048 : 1 + 8 / 2048;
				expect(Math.abs(back[key * 2 * width + i] - value)).toBeLessThanOrEqual(most * scale + 1e-12);
			});
		}
		expect(differ / all).toBeLessThan(0.01);
		expect(back.subarray(0, 2 * width).every((value) => value === 0)).toBe(true);
	});

	test("by windows of small bindings, the same bits", async () => {
		using bench = new Bench(gpu);
		const small = new Gpu(gpu.device, gpu.facts, 2 ** 13);
		const form = packedForm(96, bits) as PackedForm;
		const x = rows(bench, 192);
		const run = async (on: Gpu) => {
			const [store, y] = [bench.empty(40, form.words), bench.empty(30, 192)];
			const pass = on.pass("packed keys");
			packKeys(pass, { x: x.tensor, from: 1, stride: 192, at: 0, y: store, to: 17, count: 18, form, label: "pack" });
			unpackKeys(pass, { x: store, from: 17, y, to: 11, count: 18, form, label: "unpack" });
			pass.submit();
			return (await gpu.read([store, y])).map((data) => [...new Uint32Array(data)]);
		};
		const whole = await run(gpu);
		expect(whole[1].some((word) => word !== 0)).toBe(true);
		expect(await run(small)).toEqual(whole);
	});
});

test("a width whose numbers would share words between groups is not packed", () => {
	expect(packedForm(12, 8)).toBeUndefined();
	// Infinity-2B: 8.5 and 4.5 bits a number.
	expect([8, 4].map((bits) => packedForm(2048, bits as 8 | 4)?.words)).toEqual([1088, 576]);
});
