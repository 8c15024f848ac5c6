import { afterAll, beforeAll, expect, test } from "vitest";
import type { Gpu } from "./gpu.ts";
import { openGpu } from "./native/open.ts";
import { Scope } from "./scope.ts";
import type { Tensor } from "./tensor.ts";

let gpu: Gpu;
let start: number;
beforeAll(async () => {
	gpu = await openGpu();
	start = gpu.bytes;
});
afterAll(() => gpu.destroy());

/** What no adapter binds. */
const huge = () => [2, gpu.bindingBytes];

test("frees what was made and taken over, at the end of its block and once", () => {
	{
		using scope = new Scope(gpu);
		expect(scope.tensor("made", [8]).shape).toEqual([8]);
		expect(scope.upload("data", [4], new Float32Array(4)).bytes).toBe(16);
		const other = gpu.tensor("other", [4]);
		expect(scope.own(other)).toBe(other);
		expect(gpu.bytes - start).toBe(32 + 16 + 16);
		scope[Symbol.dispose]();
		expect(gpu.bytes).toBe(start);
	}
	expect(gpu.bytes).toBe(start);
});

test("a throw half-way through making several leaks none", () => {
	const make = () => {
		using scope = new Scope(gpu);
		scope.tensor("first", [64]);
		scope.upload("second", [4], new Uint32Array(4));
		scope.tensor("third", huge());
		return scope.move();
	};
	expect(make).toThrow(/third needs a buffer/);
	expect(gpu.bytes).toBe(start);
});

test("what was moved outlives the scope it was made in, and that one can go on", () => {
	let owned: Scope;
	let kept: Tensor;
	{
		using scope = new Scope(gpu);
		kept = scope.tensor("kept", [8]);
		owned = scope.move();
		scope.tensor("not kept", [64]);
	}
	expect(gpu.bytes - start).toBe(kept.bytes);
	owned[Symbol.dispose]();
	expect(gpu.bytes).toBe(start);
});

test("a replacement that is refused leaves what was", () => {
	class Work {
		#owned: Scope;
		x: Tensor;
		constructor() {
			using scope = new Scope(gpu);
			this.x = scope.tensor("x", [8]);
			this.#owned = scope.move();
		}
		grow(shape: number[]): void {
			using scope = new Scope(gpu);
			scope.tensor("beside x", [16]);
			const x = scope.tensor("x", shape);
			this.#owned[Symbol.dispose]();
			this.#owned = scope.move();
			this.x = x;
		}
		destroy(): void {
			this.#owned[Symbol.dispose]();
		}
	}
	const work = new Work();
	expect(() => work.grow(huge())).toThrow(/x needs a buffer/);
	expect([gpu.bytes - start, work.x.shape]).toEqual([32, [8]]);
	work.grow([32]);
	expect([gpu.bytes - start, work.x.shape]).toEqual([64 + 128, [32]]);
	work.destroy();
	expect(gpu.bytes).toBe(start);
});
