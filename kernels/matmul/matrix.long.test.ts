/**
 * Subgroup matrices without an adapter that has them. Dawn's null backend has the feature: it parses the programs,
 * checks types and limits, and runs nothing. What the programs do around the matrices is run on the adapter at hand,
 * with the matrices' own operations written out in plain WGSL. What no test here shows: that a driver compiles them,
 * and what its matrices sum.
 */

import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { create } from "webgpu";
import { KernelError } from "../gpu/errors.ts";
import { type MatrixShape, matrixOf } from "../gpu/facts.ts";
import { Gpu } from "../gpu/gpu.ts";
import { openGpu } from "../gpu/native/open.ts";
import { Bench, maxError, words } from "../testing.ts";
import type { MatmulVariant } from "./form.ts";
import { matmul } from "./matmul.ts";
import { matrices, matrixFits, matrixOps, matrixVariants } from "./matrix.ts";

const SHAPES: Omit<MatrixShape, "lanes" | "subgroups">[] = [
	{ m: 16, n: 16, k: 16 },
	{ m: 16, n: 8, k: 16 },
	{ m: 8, n: 8, k: 8 },
	{ m: 16, n: 16, k: 8 },
];

// Kept: Dawn does not survive the loss of an instance whose devices live.
const nullBackend = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());
afterEach(() => delete gpu.facts.matrix);

describe("on Dawn's null backend", () => {
	const open = async () => {
		const adapter = await nullBackend.requestAdapter();
		if (!adapter) throw new Error("Dawn has no null backend");
		const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = adapter.limits;
		return await adapter.requestDevice({
			requiredFeatures: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix" as GPUFeatureName],
			requiredLimits: { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize },
		});
	};
	const compile = async (
		device: GPUDevice,
		shape: MatrixShape,
		variants: readonly MatmulVariant[],
		change = (code: string) => code,
	) => {
		const none = new Gpu(device, {
			name: "null",
			software: true,
			late: false,
			runtime: "node",
			driver: "null",
			lanes: 4,
			matrix: shape,
		});
		const [x, y] = [none.tensor("x", [64 * 64]), none.tensor("y", [64 * 64])];
		const weight = none.tensor("w", [64 * 64], 0, "f16");
		const gate = none.tensor("gate", [64], GPUBufferUsage.UNIFORM);
		using _ = changed(device, change);
		await none.compile(
			none.rehearse(() => {
				const pass = none.pass("null");
				for (const variant of variants)
					matmul(pass, { x, weight, bias: x, y, m: 64, k: 64, n: 64, gelu: true, label: variant.name, variant });
				for (const variant of variants)
					matmul(pass, {
						x,
						weight,
						y,
						m: 64,
						k: 64,
						n: 64,
						add: true,
						gate: { table: x, stride: 64, at: 0, rows: { rows: [], tokens: 64, tokenRow: gate, table: gate } },
						label: variant.name,
						variant,
					});
				pass.submit();
			}),
		);
	};

	test("every variant is valid WGSL for every shape of matrices, and fits the limits", async () => {
		const device = await open();
		for (const shape of SHAPES) await compile(device, { ...shape, lanes: 128, subgroups: 2 }, matrixVariants);
	});

	test("the check is one: matrices that do not fit are refused, and subgroups that leave lanes over", async () => {
		const device = await open();
		const shape = { m: 16, n: 8, k: 16, lanes: 128, subgroups: 2 };
		await expect(
			compile(device, shape, matrixVariants.slice(0, 1), (code) =>
				code.replace("subgroup_matrix_left<f16, 16, 16>", "subgroup_matrix_left<f16, 8, 16>"),
			),
		).rejects.toThrow(KernelError);
		await expect(compile(device, { ...shape, lanes: 32 }, matrixVariants.slice(0, 1))).rejects.toThrow(
			/maxSubgroupSize/,
		);
	});
});

/** Programs are changed before the device compiles them, until this is disposed of. */
function changed(device: GPUDevice, change: (code: string) => string): Disposable {
	const create = device.createShaderModule.bind(device);
	const spy = vi
		.spyOn(device, "createShaderModule")
		.mockImplementation((descriptor) => create({ ...descriptor, code: change(descriptor.code) }));
	return { [Symbol.dispose]: () => spy.mockRestore() };
}

/**
 * Factors are read from where they were staged; each of m * n / 4 lanes in a row keeps four sums of a matrix. f32 in
 * place of f16.
 */
function writtenOut(code: string, shape: MatrixShape, columns: number): string {
	const { n, k, lanes } = shape;
	const plain = `
var<private> lane: u32;
alias Sum = vec4f;
fn left(at: u32) -> u32 { return at + lane / ${n / 4}u * 32u; }
fn right(at: u32) -> u32 { return at + lane % ${n / 4}u * 4u; }
fn multiply(a: u32, b: u32, sum: Sum) -> Sum {
	var r = sum;
	for (var q = 0u; q < ${k}u; q++) {
		let w = b + q * ${columns}u;
		r += xs[a + q] * vec4f(ws[w], ws[w + 1u], ws[w + 2u], ws[w + 3u]);
	}
	return r;
}
fn put(at: u32, sum: Sum) { for (var i = 0u; i < 4u; i++) { out[at + lane * 4u + i] = sum[i]; } }`;
	const ops = matrixOps(shape, columns);
	expect(code).toContain(ops);
	return code
		.replace(ops, plain)
		.replaceAll(/^enable .*;$/gm, "")
		.replace(
			/,\s*@builtin\(subgroup_id\) subgroup: u32\s*\) \{/,
			`) { let subgroup = index / ${lanes}u; lane = index % ${lanes}u;`,
		)
		.replaceAll("vec4h", "vec4f")
		.replaceAll("f16", "f32");
}

describe("around the matrices", () => {
	test.each([
		{ ...SHAPES[0], lanes: 64, subgroups: 4 },
		{ ...SHAPES[1], lanes: 32, subgroups: 2 },
		{ ...SHAPES[2], lanes: 16, subgroups: 4 },
		{ ...SHAPES[3], lanes: 64, subgroups: 1 },
	])(
		"$m x $n x $k in $subgroups subgroups: tiles that overhang, bias, sums added to; a row's bits do not depend on m",
		async (shape) => {
			using bench = new Bench(gpu);
			const [m, k, n] = [37, 44, 76];
			const x = bench.random(m, k);
			const weight = bench.random(k, n);
			const bias = bench.random(n);
			const before = bench.random(m, n);
			const expected = Array.from({ length: m * n }, (_, i) => {
				let sum = before.data[i] + bias.data[i % n];
				for (let j = 0; j < k; j++) sum += x.data[Math.floor(i / n) * k + j] * weight.data[j * n + (i % n)];
				return sum;
			});
			const results: Uint32Array[] = [];
			gpu.facts.matrix = shape;
			for (const variant of [matrixVariants[0], matrixVariants[2]]) {
				for (const rows of [m, 3]) {
					const y = bench.put(before.data.slice(0, rows * n)).tensor;
					using _ = changed(gpu.device, (code) => writtenOut(code, shape, variant.columns));
					const [out] = await bench.run((pass) => {
						matmul(pass, {
							x: x.tensor,
							weight: weight.tensor,
							bias: bias.tensor,
							y,
							m: rows,
							k,
							n,
							add: true,
							label: variant.name,
							variant,
						});
					}, y);
					expect(maxError(out, expected.slice(0, rows * n))).toBeLessThan(1e-5);
					results.push(words(out.slice(0, 3 * n)));
				}
			}
			for (const result of results) expect(result).toEqual(results[0]);
		},
	);
});

describe("which matrices", () => {
	const features = new Set(["chromium-experimental-subgroup-matrix", "subgroups", "shader-f16"]);
	const limits = { maxComputeInvocationsPerWorkgroup: 256 };
	const info = (configs: object[], subgroupMaxSize = 32) =>
		({ subgroupMaxSize, subgroupMatrixConfigs: configs }) as unknown as GPUAdapterInfo;
	const config = (M: number, N: number, K: number, componentType = "f16", resultComponentType = "f32") => ({
		componentType,
		resultComponentType,
		M,
		N,
		K,
	});

	test("the largest of f16 with f32 sums; none without the features, or where only others are", () => {
		const all = info([
			config(16, 8, 8),
			config(16, 16, 16),
			config(16, 8, 16),
			config(32, 32, 32, "u8", "u32"),
			config(16, 16, 32, "f16", "f16"),
		]);
		expect(matrixOf(all, features, limits)).toEqual({ m: 16, n: 16, k: 16, lanes: 32, subgroups: 4 });
		expect(matrixOf(all, new Set(["subgroups", "shader-f16"]), limits)).toBeUndefined();
		expect(matrixOf(info([config(8, 8, 8, "f32")]), features, limits)).toBeUndefined();
		expect(matrixOf(info([config(8, 8, 8)], 128), features, limits)?.subgroups).toBe(2);
		expect(matrixOf(info([config(8, 8, 8)], 512), features, limits)).toBeUndefined();
	});

	test("those whose sides divide the tiles'", () => {
		expect(
			[...SHAPES, { m: 12, n: 16, k: 16 }, { m: 16, n: 32, k: 16 }, { m: 16, n: 16, k: 64 }].map((shape) =>
				matrixFits({ ...shape, lanes: 32, subgroups: 4 }),
			),
		).toEqual([true, true, true, true, false, false, false]);
		expect(() => matrices.code(matrixVariants[0], { slab: 1, matrix: undefined })).toThrow(/no subgroup matrices/);
	});
});
