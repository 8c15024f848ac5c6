/** One block of published widths at few tokens, with its text and the first token, random weights, against f64. */
import { expect, it } from "vitest";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { maxError, randomFloats } from "../../../kernels/testing.ts";
import { openModel } from "../../engine/open.ts";
import { policies } from "../../policies/index.ts";
import {
	attend,
	gelu,
	linear,
	normaliseHeads,
	randomModel,
	sum,
	tokensOf,
	type Vector,
} from "../testing/random-model.ts";
import type { StarConfig } from "./config.ts";
import { publishedStar } from "./published.ts";

const gpu = await sharedGpu();

const TEXT = 5;
/** Of the prompt, then of the empty one. */
const MASK = [1, 1, 1, 1, 0, 1, 1, 0, 0, 0];

const norm = (x: Vector): Vector => {
	const mean = sum(x) / x.length;
	const rstd = 1 / Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / x.length + 1e-6);
	return x.map((v) => (v - mean) * rstd);
};
const add = (x: Vector, y: Vector): Vector => x.map((v, i) => v + y[i]);

/**
 * The block on the tokens of both guidance rows. `before`: the inputs of the scale before; `text`: the prompt's
 * features.
 */
function block(
	{ width: C, heads, ropeReach, ropeTheta }: StarConfig,
	weight: (name: string) => Float32Array,
	text: Vector[],
	before: ArrayLike<number>[],
	input: ArrayLike<number>[],
): number[][] {
	const d = C / heads;
	const zeros = new Float32Array(C);
	const w = (name: string) => weight(`blocks.0.${name}`);
	/**
	 * Positions run from 0 to `ropeReach` over a side; channels turn in pairs, the first half of them by x, the others by
	 * y.
	 */
	const projected = (x: Vector, [y, column]: number[]): Vector => {
		const qkv = linear(
			w,
			norm(x),
			"attn.mat_qkv",
			Float32Array.from([...w("attn.q_bias"), ...zeros, ...w("attn.v_bias")]),
		);
		for (let at = 0; at < 2 * C; at += 2) {
			const m = (at % d) / 2;
			const angle = (m < d / 4 ? column : y) * (ropeReach as number) * ropeTheta ** ((-4 * (m % (d / 4))) / d);
			const [a, b] = [qkv[at], qkv[at + 1]];
			qkv[at] = a * Math.cos(angle) - b * Math.sin(angle);
			qkv[at + 1] = a * Math.sin(angle) + b * Math.cos(angle);
		}
		normaliseHeads(qkv, heads, w("attn.scale_mul_1H11"));
		return qkv;
	};
	const keysOfText = text.map((token) => {
		const kv = linear(w, token, "cross_attn.mat_kv", Float32Array.from([...zeros, ...w("cross_attn.v_bias")]));
		const key = Float64Array.from([...kv.subarray(0, C), ...kv]);
		normaliseHeads(key, heads, w("cross_attn.scale_mul_1H11"));
		return key;
	});
	const middles = input.map((row, r) => {
		const own = tokensOf(row, C);
		const queries = own.map((x, t) => projected(x, [Math.floor(t / 2), t % 2]));
		const keys = [...tokensOf(before[r], C).map((x) => projected(x, [0, 0])), ...queries];
		return own.map((x, t) => add(x, linear(w, attend(queries[t], keys, heads), "attn.proj")));
	});
	// The official block takes the first row of what cross attention returns, for all rows.
	const crossed = middles[0].map((x) => {
		const q = linear(w, norm(x), "cross_attn.mat_q", w("cross_attn.q_bias"));
		const query = Float64Array.from([...q, ...q, ...q]);
		normaliseHeads(query, heads, w("cross_attn.scale_mul_1H11"));
		return linear(w, attend(query, keysOfText, heads), "cross_attn.proj");
	});
	return middles.map((row) =>
		row.flatMap((x, t) => {
			const middle = add(x, crossed[t]);
			return [...add(middle, linear(w, gelu(linear(w, norm(middle), "ffn.fc1")), "ffn.fc2"))];
		}),
	);
}

it.each(["256-d16", "1024"])("a block of STAR %s", async (size) => {
	const published = publishedStar(size);
	const config: StarConfig = {
		...published.config,
		depth: 1,
		textMaxTokens: TEXT,
		codebook: { vocabulary: 64, channels: 32, phis: 4 },
		vae: { baseChannels: 32, multipliers: [1, 1], residualBlocks: 1, normGroups: 32, normEps: 1e-6 },
	};
	const { textChannels } = config;
	const { folder, weight } = randomModel(
		{
			...published,
			config,
			schedules: {
				"1:1": {
					grids: [
						[1, 1],
						[2, 2],
					],
					image: { height: 4, width: 4 },
				},
			},
			licence: "Random weights.",
		},
		7,
	);
	const draws = new Map<string, Float32Array | Int32Array>([
		["text.feats", randomFloats(2 * TEXT * textChannels, 1)],
		["text.mask", Int32Array.from(MASK)],
		["text.pool", randomFloats(2 * textChannels, 2)],
	]);
	const model = await openModel(gpu, folder);
	const taken = new Map<string, Float32Array>();
	const tap = {
		wants: (name: string) => /\.(input|blk0\.out)$/.test(name),
		take: ({ name, data }: { name: string; data: Float32Array | Int32Array }) =>
			void taken.set(name, data as Float32Array),
	};
	try {
		for await (const _ of model.generate({
			plan: policies.exact.plan(model.info, {}),
			draws,
			seed: 1,
			previews: "none",
			tap,
		}));
	} finally {
		model.destroy();
	}
	const rows = (name: string) => {
		const data = taken.get(name) as Float32Array;
		return [data.subarray(0, data.length / 2), data.subarray(data.length / 2)];
	};
	const expectClose = (actual: ArrayLike<number>, expected: number[]) => {
		const most = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
		expect(most).toBeGreaterThan(1);
		expect(maxError(actual, expected)).toBeLessThan(3e-5 * most);
	};
	const [starts, inputs, outputs] = [rows("s0.input"), rows("s1.input"), rows("s1.blk0.out")];
	tokensOf(draws.get("text.pool") as Float32Array, textChannels).forEach((pooled, row) => {
		expectClose(starts[row], [
			...linear(weight, pooled, "encoder_proj").map(
				(v, i) => v + weight("pos_start")[i] + weight("lvl_embed.weight")[i],
			),
		]);
	});
	const prompt = tokensOf(draws.get("text.feats") as Float32Array, textChannels)
		.slice(0, TEXT)
		.filter((_, token) => MASK[token]);
	block(config, weight, prompt, starts, inputs).forEach((expected, row) => expectClose(outputs[row], expected));
});
