/** One block of published widths at few tokens, random weights, against f64. */
import { expect, it } from "vitest";
import { Gpu } from "../../../kernels/gpu/gpu.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { maxError } from "../../../kernels/testing.ts";
import { openModel } from "../../engine/open.ts";
import { policies } from "../../policies/index.ts";
import {
	attend,
	gelu,
	linear,
	normaliseHeads,
	randomModel,
	silu,
	sum,
	tokensOf,
	type Vector,
} from "../testing/random-model.ts";
import type { VarConfig } from "./config.ts";
import { publishedVar } from "./published.ts";

const gpu = await sharedGpu();

const LABEL = 7;

/** A model of one block whose width, heads and AdaLN are the published ones; its pictures are two pixels a token. */
function oneBlock(depth: 16 | 20 | 24 | 30 | 36) {
	const config: VarConfig = {
		...publishedVar(depth),
		depth: 1,
		scales: 2,
		tokens: 5,
		classes: 10,
		codebook: { vocabulary: 64, channels: 32, phis: 4 },
		vae: { baseChannels: 32, multipliers: [1, 1], residualBlocks: 1, normGroups: 32, normEps: 1e-6 },
	};
	const described = {
		name: `var-d${depth}-block`,
		family: "var",
		config,
		schedules: {
			"1:1": {
				grids: [
					[1, 1],
					[2, 2],
				] as [number, number][],
				image: { height: 4, width: 4 },
			},
		},
		defaultSchedule: "1:1",
		sampling: { guidance: [1, 5] as [number, number], tau: 1, topK: 1, topP: 0 },
		licence: "Random weights.",
	};
	return { config, ...randomModel(described, depth) };
}

/** The block on the tokens of one guidance row, by VAR's formulas: `before` are the inputs of the scale before. */
function reference(
	{ width: C, heads, adaln, classes }: VarConfig,
	weight: (name: string) => Float32Array,
	row: number,
	before: ArrayLike<number>,
	input: ArrayLike<number>,
): number[] {
	const label = row === 0 ? LABEL : classes;
	const cond = silu(weight("class_emb.weight").subarray(label * C, (label + 1) * C));
	const vectors = linear(weight, cond, adaln === "shared" ? "shared_ada_lin.1" : "blocks.0.ada_lin.1");
	if (adaln === "shared") weight("blocks.0.ada_gss").forEach((v, i) => (vectors[i] += v));
	const modulated = (x: Vector, half: number): Vector => {
		const mean = sum(x) / C;
		const rstd = 1 / Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / C + 1e-6);
		return x.map((v, i) => (v - mean) * rstd * (1 + vectors[(2 + half) * C + i]) + vectors[(4 + half) * C + i]);
	};
	const added = (x: Vector, y: Vector, half: number): Vector => x.map((v, i) => v + vectors[half * C + i] * y[i]);

	const bias = Float32Array.from([
		...weight("blocks.0.attn.q_bias"),
		...new Float32Array(C),
		...weight("blocks.0.attn.v_bias"),
	]);
	const projected = (x: Vector): Vector => {
		const qkv = linear(weight, modulated(x, 0), "blocks.0.attn.mat_qkv", bias);
		normaliseHeads(qkv, heads, weight("blocks.0.attn.scale_mul_1H11"));
		return qkv;
	};
	const own = tokensOf(input, C);
	const queries = own.map(projected);
	const keys = [...tokensOf(before, C).map(projected), ...queries];
	return own.flatMap((x, t) => {
		const middle = added(x, linear(weight, attend(queries[t], keys, heads), "blocks.0.attn.proj"), 0);
		const hidden = gelu(linear(weight, modulated(middle, 1), "blocks.0.ffn.fc1"));
		return [...added(middle, linear(weight, hidden, "blocks.0.ffn.fc2"), 1)];
	});
}

it("matrices in parts, where a binding holds less, give the same bits", async () => {
	const { folder } = oneBlock(16);
	const run = async (on: Gpu) => {
		const model = await openModel(on, folder);
		const logits: ArrayLike<number>[] = [];
		const tap = {
			wants: (name: string) => name.endsWith("logits_pre_cfg"),
			take: ({ data }: { data: ArrayLike<number> }) => void logits.push(data),
		};
		const results = await Array.fromAsync(
			model.generate({ plan: policies.exact.plan(model.info, {}), label: LABEL, seed: 1, previews: "none", tap }),
		);
		model.destroy();
		return {
			logits,
			codes: results.map((result) =>
				result.kind === "scale" ? result.codes : result.kind === "final" ? result.image : result.plan,
			),
		};
	};
	const whole = await run(gpu);
	expect(whole.logits).toHaveLength(2);
	// The largest matrix, of 25 MB, becomes ten; what is not a matrix fits.
	expect(await run(new Gpu(gpu.device, gpu.facts, 2.5 * 2 ** 20))).toEqual(whole);
});

it.each([16, 20, 24, 30, 36] as const)("a block of d%i", async (depth) => {
	const { folder, config, weight } = oneBlock(depth);
	const model = await openModel(gpu, folder);
	const taken = new Map<string, ArrayLike<number>>();
	const tap = {
		wants: (name: string) => /\.(input|blk0\.out)$/.test(name),
		take: ({ name, data }: { name: string; data: ArrayLike<number> }) => void taken.set(name, data),
	};
	try {
		for await (const _ of model.generate({
			plan: policies.exact.plan(model.info, {}),
			label: LABEL,
			seed: 1,
			previews: "none",
			tap,
		}));
	} finally {
		model.destroy();
	}
	const part = (name: string, row: number) => {
		const data = taken.get(name) as Float32Array;
		return data.subarray((row * data.length) / 2, ((row + 1) * data.length) / 2);
	};
	for (const row of [0, 1]) {
		const expected = reference(config, weight, row, part("s0.input", row), part("s1.input", row));
		const most = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
		expect(most).toBeGreaterThan(1);
		expect(maxError(part("s1.blk0.out", row), expected)).toBeLessThan(3e-5 * most);
	}
});
