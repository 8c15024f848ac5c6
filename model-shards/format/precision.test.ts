import { describe, expect, it } from "vitest";
import { ModelFormatError } from "./errors.ts";
import { dequantize, quantize, toF16, toF32 } from "./precision.ts";

describe("numbers", () => {
	it("of every floating type widen exactly", () => {
		const values = [0, -0.5, 1, 65504, 2 ** -14];
		const bf16 = Uint16Array.from(new Uint32Array(Float32Array.of(0, -0.5, 1, 2 ** 100).buffer), (bits) => bits >>> 16);
		expect([...toF32("F32", new Uint8Array(Float32Array.from(values).buffer))]).toEqual(values);
		expect([...toF32("F64", new Uint8Array(Float64Array.from(values).buffer))]).toEqual(values);
		expect([...toF32("F16", toF16(Float32Array.from(values), "x"))]).toEqual(values);
		expect([...toF32("BF16", new Uint8Array(bf16.buffer))]).toEqual([0, -0.5, 1, 2 ** 100]);
		expect(() => toF32("I32", new Uint8Array(4))).toThrow(RangeError);
	});

	it("keep to half a step of their group, or the group's scale is zero", () => {
		const values = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i * 1.7) * 10 ** ((i >> 6) - 4));
		values.fill(0, 64, 128);
		for (const [dtype, largest, group] of [
			["I8", 127, 64],
			["I4", 7, 32],
		] as const) {
			const { packed, scales } = quantize(values, dtype, group, "x");
			expect(packed.byteLength).toBe(dtype === "I8" ? 512 : 256);
			const back = dequantize(packed, scales, dtype, group);
			for (const [i, value] of values.entries()) {
				const peak = Math.max(
					...values
						.subarray(Math.floor(i / group) * group)
						.subarray(0, group)
						.map(Math.abs),
				);
				// Half a step, and what rounding the scale to F16 (11 bits, or 2^-24 where it is subnormal) can do.
				expect(Math.abs(back[i] - value)).toBeLessThanOrEqual(
					(peak / largest) * 0.5 + peak * 2 ** -11 + largest * 2 ** -25,
				);
			}
			expect(scales[64 / group]).toBe(0);
			expect(back.subarray(64, 128).every((value) => value === 0)).toBe(true);
		}
	});

	it("lie in u32 words from the lowest bits up", () => {
		const wholes = [0, 1, -1, 7, -7, 3, -4, 2];
		const values = Float32Array.from({ length: 32 }, (_, i) => wholes[i % 8] * 0.5);
		const { packed, scales } = quantize(values, "I4", 32, "x");
		expect([...scales]).toEqual([0.5]);
		const word = new Uint32Array(packed.buffer)[0];
		expect(wholes.map((_, i) => (word << (28 - 4 * i)) >> 28)).toEqual(wholes);
		expect(
			[
				...new Int8Array(
					quantize(
						values.map((v) => v * (127 / 7)),
						"I8",
						32,
						"x",
					).packed.buffer,
				),
			].slice(3, 5),
		).toEqual([127, -127]);
	});

	it("that no group can hold are refused", () => {
		for (const wrong of [NaN, Infinity, 1e38]) {
			const values = new Float32Array(32).fill(1);
			values[3] = wrong;
			expect(() => quantize(values, "I8", 32, "some.weight")).toThrow(/some\.weight holds/);
			expect(() => toF16(values, "some.weight")).toThrow(ModelFormatError);
		}
	});
});
