/** One block of published widths at few tokens, random weights, against f64. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Gpu } from "../../../../kernels/gpu.ts";
import { maxError, randomFloats } from "../../../../kernels/testing.ts";
import type { ModelFolder } from "../../../../model-shards/folder.ts";
import { checkManifest, type Manifest, manifestDigest, modelInfo } from "../../../../model-shards/manifest.ts";
import { publishedVar, type VarConfig } from "../../../../model-shards/var-config.ts";
import { varTensors } from "../../../../model-shards/var-tensors.ts";
import { openModel } from "../../open-model.ts";
import { policies } from "../../plan/policies.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await Gpu.open();
});
afterAll(() => gpu.destroy());

const LABEL = 7;
const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** A model of one block whose width, heads and AdaLN are the published ones; its pictures are two pixels a token. */
function oneBlock(depth: 16 | 20 | 24 | 30 | 36): { folder: ModelFolder; config: VarConfig; weight(name: string): Float32Array } {
	const config: VarConfig = { ...publishedVar(depth), depth: 1, scales: 2, tokens: 5, classes: 10, codebook: { vocabulary: 64, channels: 32, phis: 4 }, vae: { baseChannels: 32, multipliers: [1, 1], residualBlocks: 1, normGroups: 32, normEps: 1e-6 } };
	const noise = randomFloats(1 << 18, depth);
	const weights = new Map<string, Float32Array<ArrayBuffer>>();
	let from = 0;
	for (const { name, shape } of varTensors(config)) {
		const size = count(shape);
		const data = new Float32Array(size);
		// Embeddings are of unit size, matrices keep the size of what they multiply, everything else is small.
		const scale = /emb\b|embed|pos_/.test(name) ? 1.7 : shape.length >= 2 && !name.includes("ada_gss") ? (3 / (size / shape[0])) ** 0.5 : 0.1;
		for (let at = 0; at < size; from = (from + 977) % 4096) {
			const part = noise.subarray(from, from + size - at);
			for (let i = 0; i < part.length; i++) data[at + i] = part[i] * scale;
			at += part.length;
		}
		weights.set(name, data);
	}
	const manifest: Manifest = {
		format: "firstlight-model", version: 1, name: `var-d${depth}-block`, family: "var", config,
		schedules: { "1:1": { grids: [[1, 1], [2, 2]], image: { height: 4, width: 4 } } }, defaultSchedule: "1:1",
		sampling: { guidance: [1, 5], tau: 1, topK: 1, topP: 0 }, tokenizer: null, licence: "Random weights.", shards: [],
		tensors: [...weights].map(([name, data]) => ({ name, dtype: "F32", shape: [data.length], shard: 0, offset: 0, bytes: data.byteLength })),
	};
	checkManifest({ ...manifest, tensors: [] });
	const digest = manifestDigest(new TextEncoder().encode(manifest.name));
	async function* tensors() {
		for (const { name, shape } of varTensors(config)) yield { name, dtype: "F32" as const, shape, bytes: new Uint8Array((weights.get(name) as Float32Array<ArrayBuffer>).buffer) };
	}
	return { folder: { dir: "", manifest, digest, info: modelInfo(manifest, digest), tokenizer: null, tensors }, config, weight: (name) => weights.get(`transformer.${name}`) as Float32Array };
}

type Vector = Float64Array;
const silu = (x: ArrayLike<number>): Vector => Float64Array.from(x, (v) => v / (1 + Math.exp(-v)));
const gelu = (x: Vector): Vector => x.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));

/** The block on the tokens of one guidance row, by VAR's formulas: `before` are the inputs of the scale before. */
function reference({ width: C, heads, ffn, adaln, classes }: VarConfig, weight: (name: string) => Float32Array, row: number, before: ArrayLike<number>, input: ArrayLike<number>): number[] {
	const linear = (x: Vector, name: string, out: number, bias: ArrayLike<number> = weight(`${name}.bias`)): Vector => {
		const w = weight(`${name}.weight`);
		return Float64Array.from({ length: out }, (_, o) => {
			let sum = bias[o];
			for (let i = 0; i < x.length; i++) sum += w[o * x.length + i] * x[i];
			return sum;
		});
	};
	const label = row === 0 ? LABEL : classes;
	const cond = silu(weight("class_emb.weight").subarray(label * C, (label + 1) * C));
	const vectors = linear(cond, adaln === "shared" ? "shared_ada_lin.1" : "blocks.0.ada_lin.1", 6 * C);
	if (adaln === "shared") weight("blocks.0.ada_gss").forEach((v, i) => (vectors[i] += v));
	const modulated = (x: Vector, half: number): Vector => {
		const mean = x.reduce((sum, v) => sum + v, 0) / C;
		const rstd = 1 / Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / C + 1e-6);
		return x.map((v, i) => (v - mean) * rstd * (1 + vectors[(2 + half) * C + i]) + vectors[(4 + half) * C + i]);
	};
	const added = (x: Vector, y: Vector, half: number): Vector => x.map((v, i) => v + vectors[half * C + i] * y[i]);
	const tokensOf = (data: ArrayLike<number>): Vector[] => Array.from({ length: data.length / C }, (_, t) => Float64Array.from({ length: C }, (_, i) => data[t * C + i]));

	const d = C / heads;
	const scaleMul = weight("blocks.0.attn.scale_mul_1H11");
	const bias = Float32Array.from([...weight("blocks.0.attn.q_bias"), ...new Float32Array(C), ...weight("blocks.0.attn.v_bias")]);
	const projected = (x: Vector): Vector => {
		const qkv = linear(modulated(x, 0), "blocks.0.attn.mat_qkv", 3 * C, bias);
		for (let head = 0; head < 2 * heads; head++) {
			const part = qkv.subarray(head * d, (head + 1) * d);
			const norm = Math.hypot(...part) / (head < heads ? Math.exp(Math.min(scaleMul[head], Math.log(100))) : 1);
			part.forEach((v, i) => (part[i] = v / norm));
		}
		return qkv;
	};
	const own = tokensOf(input);
	const queries = own.map(projected);
	const keys = [...tokensOf(before).map(projected), ...queries];
	return own.flatMap((x, t) => {
		const attended = new Float64Array(C);
		for (let head = 0; head < heads; head++) {
			const at = head * d;
			const scores = keys.map((key) => {
				let dot = 0;
				for (let i = 0; i < d; i++) dot += queries[t][at + i] * key[C + at + i];
				return Math.exp(dot);
			});
			const total = scores.reduce((sum, score) => sum + score, 0);
			keys.forEach((key, k) => {
				for (let i = 0; i < d; i++) attended[at + i] += (scores[k] / total) * key[2 * C + at + i];
			});
		}
		const middle = added(x, linear(attended, "blocks.0.attn.proj", C), 0);
		const hidden = gelu(linear(modulated(middle, 1), "blocks.0.ffn.fc1", ffn));
		return [...added(middle, linear(hidden, "blocks.0.ffn.fc2", C), 1)];
	});
}

it("matrices in parts, where a binding holds less, give the same bits", async () => {
	const { folder } = oneBlock(16);
	const run = async (on: Gpu) => {
		const model = await openModel(on, folder);
		const logits: ArrayLike<number>[] = [];
		const tap = { wants: (name: string) => name.endsWith("logits_pre_cfg"), take: ({ data }: { data: ArrayLike<number> }) => void logits.push(data) };
		const results = await Array.fromAsync(model.generate({ plan: policies.exact.plan(model.info, {}), label: LABEL, seed: 1, previews: "none", tap }));
		model.destroy();
		return { logits, codes: results.map((result) => (result.kind === "scale" ? result.codes : result.kind === "final" ? result.image : result.plan)) };
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
	const tap = { wants: (name: string) => /\.(input|blk0\.out)$/.test(name), take: ({ name, data }: { name: string; data: ArrayLike<number> }) => void taken.set(name, data) };
	try {
		for await (const _ of model.generate({ plan: policies.exact.plan(model.info, {}), label: LABEL, seed: 1, previews: "none", tap }));
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
