/**
 * Measures the variants of the heavy operators at given shapes and keeps the fastest of each shape class. A variant counts only
 * when its bits are those of the plainest one on this very adapter, so that no choice, and no row count, changes a result.
 */
import { createHash } from "node:crypto";
import { attention, attentionKey, attentionVariants, pickAttention } from "./attention.ts";
import { conv3x3, convKey, convVariants, pickConv } from "./conv.ts";
import type { Gpu, Tensor } from "./gpu.ts";
import type { Pass } from "./pass.ts";
import { matmul, matmulKey, pickMatmul } from "./matmul.ts";
import { matmulVariants } from "./matmul-variants.ts";
import { rowTable } from "./rows.ts";
import { available, range, type Tuning, type Variant } from "./tuning.ts";

/** Raised whenever an operator changes the order of its sums, or anything else that its bits depend on. */
export const KERNELS_VERSION = 2;

export interface Shapes {
	matmul: { m: number; k: number; n: number }[];
	/** 3x3 over one image. */
	conv: { height: number; width: number; inChannels: number; outChannels: number; upsample?: boolean }[];
	/** `rows` rows of `tokens` queries over `keys` keys each. */
	attention: { rows: number; tokens: number; keys: number; heads: number; headDim: number }[];
}

/** One operator at one shape. `record` runs the variant, or the default one. */
export interface Trial {
	key: string;
	name: string;
	flops: number;
	variants: readonly Variant[];
	/** What runs when none is named. */
	chosen(gpu: Gpu): Variant;
	inputs: number[];
	outputs: number;
	record(pass: Pass, inputs: Tensor[], y: Tensor, variant?: string): void;
}

const byName = <T extends Variant>(variants: readonly T[], name?: string) => variants.find((variant) => variant.name === name);

export function trials({ matmul: products, conv, attention: attentions }: Shapes): Trial[] {
	return [
		...products.map(({ m, k, n }): Trial => ({
			key: matmulKey(m, k, n), name: `matmul ${m}x${k}x${n}`, flops: 2 * m * k * n, variants: matmulVariants, chosen: (gpu) => pickMatmul(gpu, m, k, n), inputs: [m * k, k * n], outputs: m * n,
			record: (pass, [x, weight], y, variant) => matmul(pass, { x, weight, y, m, k, n, label: "tune matmul", variant: byName(matmulVariants, variant) }),
		})),
		...conv.map(({ height, width, inChannels, outChannels, upsample }): Trial => {
			const images = [{ pixel: 0, height, width }];
			const pixels = height * width;
			return {
				key: convKey(images, inChannels, outChannels), name: `conv ${inChannels}>${outChannels} ${height}x${width}${upsample ? " x2" : ""}`, flops: 18 * pixels * inChannels * outChannels, variants: convVariants, chosen: (gpu) => pickConv(gpu, images, inChannels, outChannels),
				inputs: [(pixels * inChannels) / (upsample ? 4 : 1), 9 * inChannels * outChannels, outChannels], outputs: pixels * outChannels,
				record: (pass, [x, weight, bias], y, variant) => conv3x3(pass, { x, weight, bias, y, images, inChannels, outChannels, upsample, label: "tune conv", variant: byName(convVariants, variant) }),
			};
		}),
		...attentions.map(({ rows, tokens, keys, heads, headDim }): Trial => {
			const width = heads * headDim;
			const list = range(rows).map((row) => ({ token: row * tokens, tokens, cond: 0, rope: 0, key: row * keys, keys, append: 0 }));
			return {
				key: attentionKey(list, heads, headDim), name: `attention ${rows}x${tokens}x${keys} ${heads}x${headDim}`,
				flops: 4 * rows * tokens * keys * width, variants: attentionVariants.filter(({ quad }) => !quad || headDim % 16 === 0), chosen: (gpu) => pickAttention(gpu, list, heads, headDim),
				inputs: [rows * tokens * width, rows * keys * 2 * width], outputs: rows * tokens * width,
				record: (pass, [q, kv], y, variant) =>
					attention(pass, { q, qStride: width, kv: { tensor: kv, stride: 2 * width, key: 0, value: width }, y, heads, headDim, scale: headDim ** -0.5, rows: rowTable(pass, list), label: "tune attention", variant: byName(attentionVariants, variant) }),
			};
		}),
	];
}

export interface Measurement {
	variant: string;
	/** Wall-clock of one run, the least of some rounds. */
	milliseconds: number;
	/** Bit-equal to the plainest variant. */
	right: boolean;
}

/** Times each available variant of a trial, interleaved in `rounds`, each round long enough to time. Throws what `Gpu.read` throws. */
export async function measure(gpu: Gpu, trial: Trial, rounds = 2, only?: readonly string[]): Promise<Measurement[]> {
	const inputs = trial.inputs.map((size, i) => gpu.upload(`tune input ${i}`, [size], noise(size, i)));
	const y = gpu.tensor("tune output", [trial.outputs]);
	const time = async (variant: string, repeats: number) => {
		const begun = performance.now();
		const pass = gpu.pass("tune");
		for (let i = 0; i < repeats; i++) trial.record(pass, inputs, y, variant);
		pass.submit();
		await gpu.read([{ ...y, bytes: 16 }]);
		return (performance.now() - begun) / repeats;
	};
	try {
		const results: Measurement[] = [];
		let plainest: Uint32Array | undefined;
		for (const { name } of trial.variants.filter((variant) => available(gpu, variant) && (only?.includes(variant.name) ?? true))) {
			gpu.device.queue.writeBuffer(y.buffer, 0, new Uint32Array(trial.outputs).fill(0x7fc00000));
			await time(name, 1);
			const bits = new Uint32Array((await gpu.read([y]))[0], 0, trial.outputs);
			plainest ??= bits;
			results.push({ variant: name, milliseconds: Infinity, right: bits.every((word, i) => word === (plainest as Uint32Array)[i]) });
		}
		const repeats = Math.max(1, Math.min(64, Math.ceil(4 / (await time(results[0].variant, 1)))));
		for (let round = 0; round < rounds; round++) {
			for (const result of results) result.milliseconds = Math.min(result.milliseconds, await time(result.variant, repeats));
		}
		return results;
	} finally {
		gpu.free(...inputs, y);
	}
}

/** The fastest right variant of each shape class (of `only` these, when given); the first shape of a class speaks for it. */
export async function tune(gpu: Gpu, shapes: Shapes, { only }: { only?: ReadonlySet<string> } = {}): Promise<Tuning> {
	const tuning: Record<string, string> = {};
	for (const trial of trials(shapes)) {
		if (trial.key in tuning || only?.has(trial.key) === false) continue;
		tuning[trial.key] = fastest(await measure(gpu, trial));
	}
	return tuning;
}

export const fastest = (measurements: readonly Measurement[]) => measurements.filter(({ right }) => right).reduce((best, next) => (next.milliseconds < best.milliseconds ? next : best)).variant;

/**
 * Part of the numerics id: what the kernels' bits depend on beside adapter and driver. Every variant that can be chosen gives the
 * same bits (`measure` sees to it), so it is the version alone, and stays when the adapter is measured again.
 */
export const tuningId = (): string => createHash("sha256").update(`kernels ${KERNELS_VERSION}`).digest("hex").slice(0, 16);

/** Uniform in (-1, 1), the same for the same seed; repeats after a prime number of words. */
function noise(count: number, seed: number): Float32Array<ArrayBuffer> {
	const out = new Float32Array(count);
	let state = seed + 1;
	for (let i = 0; i < Math.min(count, 4093); i++) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		out[i] = state / 2 ** 31 - 1;
	}
	for (let i = 4093; i < count; i++) out[i] = out[i - 4093];
	return out;
}
