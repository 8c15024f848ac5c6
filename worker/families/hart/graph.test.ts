/**
 * One block of the published width at few tokens, and the residual diffusion behind it, random weights, against f64.
 */
import { expect, it } from "vitest";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { maxError, randomFloats } from "../../../kernels/testing.ts";
import { openModel } from "../../engine/open.ts";
import { policies } from "../../policies/index.ts";
import {
	attend,
	linear,
	normaliseHeads,
	randomModel,
	silu,
	sum,
	tokensOf,
	type Vector,
} from "../testing/random-model.ts";
import type { HartConfig } from "./config.ts";
import { publishedHart } from "./published.ts";

const gpu = await sharedGpu();

const [TEXT, MASK, CELLS] = [5, [1, 1, 1, 0, 0], 4];
const rms = (x: Vector, weight: ArrayLike<number>): Vector => {
	const r = 1 / Math.sqrt(sum(x.map((v) => v * v)) / x.length + 1e-6);
	return x.map((v, i) => v * r * weight[i]);
};

/**
 * The block on the tokens of one guidance row. `context`: its embedded text, `before`: the inputs of the text scale.
 */
function block(
	{ width: C, heads }: HartConfig,
	weight: (name: string) => Float32Array,
	row: number,
	context: Vector[],
	before: ArrayLike<number>,
	input: ArrayLike<number>,
): number[] {
	const valid = row === 0 ? context.filter((_, token) => MASK[token]) : context.slice(0, 1);
	const mean = Float64Array.from({ length: C }, (_, i) => sum(valid.map((token) => token[i])) / valid.length);
	const vectors = Float64Array.from(weight("blocks.0.scale_shift_table"), (v, i) => v + mean[i % C]);
	const modulated = (x: Vector, half: number) =>
		rms(x, weight("blocks.0.ln_wo_grad.weight")).map(
			(v, i) => v * (1 + vectors[(2 + half) * C + i]) + vectors[(4 + half) * C + i],
		);
	const added = (x: Vector, y: Vector, half: number): Vector => x.map((v, i) => v + vectors[half * C + i] * y[i]);

	const d = C / heads;
	const positions = row === 0 ? [0, 1, 2, 2, 2] : [0, 0, 0, 0, 0];
	const bias = Float32Array.from([
		...weight("blocks.0.attn.q_bias"),
		...new Float32Array(C),
		...weight("blocks.0.attn.v_bias"),
	]);
	/** `angles`: of every channel of a head. */
	const projected = (x: Vector, angles: number[]): Vector => {
		const qkv = linear(weight, modulated(x, 0), "blocks.0.attn.qkv_proj", bias);
		normaliseHeads(qkv, heads, weight("blocks.0.attn.scale_mul_1H11"));
		for (let head = 0; head < 2 * heads; head++) {
			const part = qkv.subarray(head * d, (head + 1) * d);
			const turned = part.map(
				(v, m) => v * Math.cos(angles[m]) + (m < d / 2 ? -part[m + d / 2] : part[m - d / 2]) * Math.sin(angles[m]),
			);
			part.set(turned);
		}
		return qkv;
	};
	const line = (at: number) => Array.from({ length: d }, (_, m) => at * 10_000 ** ((-2 * (m % (d / 2))) / d));
	const grid = (y: number, x: number) =>
		Array.from(
			{ length: d },
			(_, m) => (positions[TEXT - 1] + (m < d / 2 ? y : x)) * 10_000 ** ((-4 * (m % (d / 4))) / d),
		);
	const own = tokensOf(input, C);
	const queries = own.map((x, t) => projected(x, grid(Math.floor(t / 2), t % 2)));
	const keys = [...tokensOf(before, C).map((x, t) => projected(x, line(positions[t]))), ...queries];
	return own.flatMap((x, t) => {
		const middle = added(x, linear(weight, attend(queries[t], keys, heads), "blocks.0.attn.proj"), 0);
		const normed = modulated(middle, 1);
		const up = linear(weight, normed, "blocks.0.ffn.up_proj", null);
		const hidden = silu(linear(weight, normed, "blocks.0.ffn.gate_proj", null)).map((v, i) => v * up[i]);
		return [...added(middle, linear(weight, hidden, "blocks.0.ffn.down_proj", null), 1)];
	});
}

/**
 * The diffusion of a token from its conditions, as its code in PyTorch reads: betas of a thousand steps, of which eight
 * are taken.
 */
function residual(
	{ residual: { depth }, codebook: { channels } }: HartConfig,
	weight: (name: string) => Float32Array,
	conditions: Vector[],
	guidance: number,
	noise: (step: number) => ArrayLike<number>,
): Vector {
	const net = (name: string) => weight(`diffloss.net.${name}`);
	const norm = (x: Vector): Vector => {
		const mean = sum(x) / x.length;
		const rstd = 1 / Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / x.length + 1e-6);
		return x.map((v) => (v - mean) * rstd);
	};
	const network = (x: Vector, time: number, condition: Vector): Vector => {
		const angles = Array.from({ length: 128 }, (_, i) => time * Math.exp((-Math.log(10_000) * i) / 128));
		const t = linear(
			net,
			silu(linear(net, Float64Array.from([...angles.map(Math.cos), ...angles.map(Math.sin)]), "time_embed.mlp.0")),
			"time_embed.mlp.2",
		);
		const y = silu(linear(net, condition, "cond_embed").map((v, i) => v + t[i]));
		let hidden = linear(net, x, "input_proj");
		const W = hidden.length;
		for (let i = 0; i < depth; i++) {
			const vectors = linear(net, y, `res_blocks.${i}.adaLN_modulation.1`);
			const normed = norm(hidden).map(
				(v, c) =>
					(v * net(`res_blocks.${i}.in_ln.weight`)[c] + net(`res_blocks.${i}.in_ln.bias`)[c]) * (1 + vectors[W + c]) +
					vectors[c],
			);
			const inner = linear(net, silu(linear(net, normed, `res_blocks.${i}.mlp.0`)), `res_blocks.${i}.mlp.2`);
			hidden = hidden.map((v, c) => v + vectors[2 * W + c] * inner[c]);
		}
		const vectors = linear(net, y, "final_layer.adaLN_modulation.1");
		return linear(
			net,
			norm(hidden).map((v, c) => v * (1 + vectors[W + c]) + vectors[c]),
			"final_layer.linear",
		);
	};
	const bar = (t: number) => Math.cos((((t / 1000 + 0.008) / 1.008) * Math.PI) / 2) ** 2;
	let product = 1;
	const products = Array.from({ length: 1000 }, (_, t) => (product *= 1 - Math.min(1 - bar(t + 1) / bar(t), 0.999)));
	const times = [0, 143, 285, 428, 571, 714, 856, 999];
	const variance = (i: number) => {
		const [own, before] = [products[times[i]], products[times[i - 1]] ?? 1];
		return ((1 - own / before) * (1 - before)) / (1 - own);
	};
	let x = Float64Array.from(noise(-1));
	for (const [step, i] of [7, 6, 5, 4, 3, 2, 1, 0].entries()) {
		const [own, before] = [products[times[i]], products[times[i - 1]] ?? 1];
		const beta = 1 - own / before;
		const [c, u] = conditions.map((condition) => network(x, times[i], condition));
		x = x.map((v, k) => {
			const eps = (1 + guidance) * c[k] - guidance * u[k];
			const start = Math.min(1, Math.max(-1, v / Math.sqrt(own) - Math.sqrt(1 / own - 1) * eps));
			const share = (c[channels + k] + 1) / 2;
			const log = share * Math.log(beta) + (1 - share) * Math.log(variance(Math.max(i, 1)));
			const mean =
				((beta * Math.sqrt(before)) / (1 - own)) * start + (((1 - before) * Math.sqrt(1 - beta)) / (1 - own)) * v;
			return mean + (i > 0 ? Math.exp(log / 2) * noise(step)[k] : 0);
		});
	}
	return x.map((v) => v * 0.6);
}

it("a block and the residual of HART 0.7B", async () => {
	const published = publishedHart("0.7b");
	const config: HartConfig = {
		...published.config,
		depth: 1,
		textMaxTokens: TEXT,
		codebook: { vocabulary: 64, channels: 32, phis: 4 },
		vae: { baseChannels: 32, multipliers: [1, 1], residualBlocks: 1, normGroups: 32, normEps: 1e-6 },
	};
	const { folder, weight } = randomModel(
		{
			name: "hart-block",
			family: "hart",
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
			defaultSchedule: "1:1",
			sampling: { guidance: [1.5, 3.5], tau: 1, topK: 1, topP: 0 },
			licence: "Random weights.",
		},
		5,
	);
	const {
		width: C,
		textChannels,
		codebook: { channels },
	} = config;
	const draws = new Map<string, Float32Array | Int32Array>([
		["text.feats", randomFloats(TEXT * textChannels, 1)],
		["text.mask", Int32Array.from(MASK)],
		["diff.noise_init", randomFloats(CELLS * channels, 2)],
		...Array.from({ length: 8 }, (_, step): [string, Float32Array] => [
			`diff.step${step}.noise`,
			randomFloats(2 * CELLS * channels, 3 + step),
		]),
	]);
	const model = await openModel(gpu, folder);
	const taken = new Map<string, Float32Array>();
	const tap = {
		wants: (name: string) => /^context\.embed$|\.(input|blk0\.out)$|^diff\.(cond|out)$/.test(name),
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
	const part = (name: string, row: number) => {
		const data = taken.get(name) as Float32Array;
		return data.subarray((row * data.length) / 2, ((row + 1) * data.length) / 2);
	};
	const expectClose = (
		actual: ArrayLike<number>,
		expected: number[],
		most = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 1),
	) => {
		expect(most).toBeGreaterThan(1);
		expect(maxError(actual, expected)).toBeLessThan(3e-5 * most);
	};
	const features = tokensOf(draws.get("text.feats") as Float32Array, textChannels);
	for (const row of [0, 1]) {
		const context = features.map((token) =>
			linear(weight, rms(row === 0 ? token : token.map(() => 0), weight("context_norm.weight")), "context_embed"),
		);
		if (row === 0)
			expectClose(
				part("context.embed", row),
				context.flatMap((token) => [...token]),
			);
		expectClose(
			part("s1.blk0.out", row),
			block(config, weight, row, context, part("s0.input", row), part("s1.input", row)),
		);
	}
	const conditions = [0, 1].map((row) => tokensOf(part("diff.cond", row), C));
	const out = tokensOf(part("diff.out", 0), channels);
	for (const [token, conditional] of conditions[0].slice(0, 2).entries()) {
		const noise = (step: number) =>
			(draws.get(step < 0 ? "diff.noise_init" : `diff.step${step}.noise`) as Float32Array).subarray(
				token * channels,
				(token + 1) * channels,
			);
		expect(
			maxError(out[token], residual(config, weight, [conditional, conditions[1][token]], 2.5, noise)),
		).toBeLessThan(1e-3);
	}
	expect(Math.max(...(taken.get("diff.out") as Float32Array).map(Math.abs))).toBeGreaterThan(0.1);
});
