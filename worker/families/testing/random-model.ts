/** What tests of published shapes share: models of random weights, and the operators of a block in f64. */
import { randomFloats } from "../../../kernels/testing.ts";
import type { Manifest } from "../../../model-shards/format/manifest.ts";
import type { Described } from "../checkpoints.ts";
import type { Families } from "../family.ts";
import type { ModelFolder } from "../folder.ts";
import { modelInfo, modelOf } from "../model.ts";
import { NO_DIGEST } from "../planned.ts";

export type WeightOf = (name: string) => Float32Array<ArrayBuffer>;

/**
 * Random weights: embeddings of unit size, matrices that keep the size of what they multiply, everything else small.
 * `weight`: a transformer's, by its official name.
 */
export function randomModel(
	head: Described,
	seed: number,
	families?: Families,
): { folder: ModelFolder; tensors: ReadonlyMap<string, Float32Array<ArrayBuffer>>; weight: WeightOf } {
	const bare: Manifest = {
		...head,
		config: { ...head.config },
		format: "firstlight-model",
		version: 1,
		tokenizer: null,
		shards: [],
		tensors: [],
	};
	const { wanted } = modelOf(bare, { families });
	const weights = new Map(wanted.map(({ name }) => [name, new Float32Array(0)]));
	const noise = randomFloats(1 << 18, seed);
	let from = 0;
	for (const { name, shape } of wanted) {
		const size = shape.reduce((product, side) => product * side, 1);
		const data = new Float32Array(size);
		const scale = /emb\b|embed$|embed\.weight|pos_/.test(name)
			? 1.7
			: shape.length >= 2 && !/ada_gss|scale_shift_table/.test(name)
				? (3 / (size / shape[0])) ** 0.5
				: 0.1;
		for (let at = 0; at < size; from = (from + 977) % 4096) {
			const part = noise.subarray(from, from + size - at);
			for (let i = 0; i < part.length; i++) data[at + i] = part[i] * scale;
			at += part.length;
		}
		weights.set(name, data);
	}
	const of = (name: string) => weights.get(name) as Float32Array<ArrayBuffer>;
	const tensors = wanted.map(({ name, shape }) => {
		const place = { shard: 0, offset: 0, bytes: of(name).byteLength };
		return { name, dtype: "F32" as const, shape, ...place };
	});
	const model = modelOf({ ...bare, tensors }, { families });
	const folder: ModelFolder = {
		...model,
		dir: "",
		digest: NO_DIGEST,
		info: modelInfo(model, NO_DIGEST),
		tokenizer: null,
		async *tensors() {
			for (const { name, dtype, shape } of tensors)
				yield { name, dtype, shape, bytes: new Uint8Array(of(name).buffer) };
		},
	};
	return { folder, tensors: weights, weight: (name) => of(`transformer.${name}`) };
}

export type Vector = Float64Array;
export const silu = (x: ArrayLike<number>): Vector => Float64Array.from(x, (v) => v / (1 + Math.exp(-v)));
export const gelu = (x: Vector): Vector =>
	x.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));
export const sum = (x: ArrayLike<number>): number =>
	Array.prototype.reduce.call(x, (total, v) => (total as number) + (v as number), 0) as number;

/** W x + b by official names; `bias` null where there is none. */
export function linear(
	weight: (name: string) => Float32Array,
	x: Vector,
	name: string,
	bias: ArrayLike<number> | null = weight(`${name}.bias`),
): Vector {
	const w = weight(`${name}.weight`);
	return Float64Array.from({ length: w.length / x.length }, (_, o) => {
		let sum = bias?.[o] ?? 0;
		for (let i = 0; i < x.length; i++) sum += w[o * x.length + i] * x[i];
		return sum;
	});
}

/** [tokens, width] as vectors. */
export const tokensOf = (data: ArrayLike<number>, width: number): Vector[] =>
	Array.from({ length: data.length / width }, (_, t) =>
		Float64Array.from({ length: width }, (_, i) => data[t * width + i]),
	);

/** The queries and keys of [q, k, v] in place: normalised by head, queries times exp(min(scaleMul, ln 100)). */
export function normaliseHeads(qkv: Vector, heads: number, scaleMul: ArrayLike<number>): void {
	const d = qkv.length / 3 / heads;
	for (let head = 0; head < 2 * heads; head++) {
		const part = qkv.subarray(head * d, (head + 1) * d);
		const norm = Math.hypot(...part) / (head < heads ? Math.exp(Math.min(scaleMul[head], Math.log(100))) : 1);
		part.forEach((v, i) => (part[i] = v / norm));
	}
}

/** softmax(Q K^T) V by head of one query over `keys`, each a whole [q, k, v]. */
export function attend(query: Vector, keys: readonly Vector[], heads: number): Vector {
	const width = query.length / 3;
	const d = width / heads;
	const out = new Float64Array(width);
	for (let at = 0; at < width; at += d) {
		const scores = keys.map((key) => Math.exp(sum(query.subarray(at, at + d).map((q, i) => q * key[width + at + i]))));
		const total = sum(scores);
		keys.forEach((key, k) => {
			for (let i = 0; i < d; i++) out[at + i] += (scores[k] / total) * key[2 * width + at + i];
		});
	}
	return out;
}
