import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { addGated, siluOfSum } from "../../../kernels/pointwise/gated.ts";
import { type Denoising, denoise, drawNormals } from "../../../kernels/sample/diffusion.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import { ROWS } from "../../engine/round/kv-plan.ts";
import type { Picture } from "../../engine/round/picture.ts";
import type { Weights } from "../shared/weights.ts";
import type { ResidualConfig } from "./config.ts";
import { TIME_CHANNELS } from "./tensors.ts";

const NET = "transformer.diffloss.net";
/** Of the residual, as the network was trained on it. */
const LATENT_SCALE = 0.6;

/**
 * The residual of a latent by diffusion, token by token, from what the transformer knows of it (HART, after MAR, arXiv
 * 2406.11838).
 */
export class ResidualDiffusion {
	#gpu: Gpu;
	#config: ResidualConfig;
	#channels: number;
	#weights: Weights;
	#schedule: readonly (Denoising & { time: number })[];
	/** [steps, width] */
	#times: Tensor;
	/** For the rows of one job. */
	#work: Record<
		"x" | "input" | "noise" | "out" | "condition" | "activated" | "vectors" | "hidden" | "normed" | "inner",
		Tensor
	>;

	/** `tokens`: of the largest latent. */
	constructor(gpu: Gpu, config: ResidualConfig, channels: number, weights: Weights, tokens: number) {
		const { width, steps } = config;
		const make = (label: string, size: number) => gpu.tensor(`residual ${label}`, [ROWS * tokens, size]);
		this.#gpu = gpu;
		this.#config = config;
		this.#channels = channels;
		this.#weights = weights;
		this.#schedule = diffusionSchedule(steps);
		this.#work = {
			x: make("x", channels),
			input: make("input", channels),
			noise: make("noise", channels),
			out: make("out", 2 * channels),
			condition: make("condition", width),
			activated: make("silu condition", width),
			vectors: make("AdaLN vectors", 3 * width),
			hidden: make("hidden", width),
			normed: make("norm", width),
			inner: make("inner", width),
		};
		this.#times = timeEmbeddings(
			gpu,
			weights,
			`${NET}.time_embed`,
			this.#schedule.map(({ time }) => time),
			width,
		);
	}

	/**
	 * The residual of a job, [tokens, channels] (and as many more of the second guidance row), until the next run. z
	 * [rows * tokens, from]: the network's condition; `guidance`: t in (1 + t) c - t u, of the noise it predicts.
	 */
	run(
		pass: Pass,
		op: { z: Tensor; from: number; job: Picture; tokens: number; rows: number; guidance: number },
	): Tensor {
		const {
			z,
			from,
			job: { drawn, seed, taps },
			tokens,
			rows,
			guidance,
		} = op;
		const { width } = this.#config;
		const { x, input, noise, out, condition } = this.#work;
		const channels = this.#channels;
		const m = rows * tokens;
		const half = tokens * channels;
		const label = (name: string) => `residual ${name}`;
		taps.give("diff.cfg", [1], () => Float32Array.of(guidance));
		matmul(pass, {
			x: z,
			y: condition,
			...this.#weights.linear(`${NET}.cond_embed`),
			m,
			k: from,
			n: width,
			label: label("cond_embed"),
		});
		const given = drawn.get("diff.noise_init");
		if (!given)
			drawNormals(pass, { y: noise, to: 0, tokens, channels, seed, stream: 0, step: 0, label: label("first noise") });
		for (let row = 0; row < rows; row++)
			for (const y of [x, input])
				copy(pass, { x: given ?? noise, y, to: row * half, count: half, label: label("first x") });
		this.#schedule.forEach((step, index) => {
			const name = `diff.step${index}`;
			taps.give(`${name}.t`, [1], () => Int32Array.of(step.time));
			taps.keep(pass, `${name}.x`, x, [m, channels]);
			this.#network(pass, m, index);
			const recorded = drawn.get(`${name}.noise`);
			if (!recorded && step.noise)
				for (let stream = 0; stream < rows; stream++)
					drawNormals(pass, {
						y: noise,
						to: stream * tokens,
						tokens,
						channels,
						seed,
						stream,
						step: index + 1,
						label: label("noise"),
					});
			denoise(pass, {
				out,
				x,
				noise: recorded ?? noise,
				input,
				tokens,
				rows,
				channels,
				guidance,
				step,
				label: label("denoise"),
			});
			taps.keep(pass, `${name}.model_out`, out, [m, 2 * channels]);
		});
		taps.keep(pass, "diff.out", x, [m, channels]);
		return x;
	}

	/** out = the network at `input`, its condition and the time of step `index`. */
	#network(pass: Pass, m: number, index: number): void {
		const { width, depth } = this.#config;
		const { input, out, condition, activated, vectors, hidden, normed, inner } = this.#work;
		const channels = this.#channels;
		const linear = (module: string, x: Tensor, y: Tensor, k: number, n: number) =>
			matmul(pass, { x, y, ...this.#weights.linear(`${NET}.${module}`), m, k, n, label: `residual ${module}` });
		const norm = (stride: number, affine: { weight?: Tensor; bias?: Tensor }) =>
			modulatedNorm(pass, {
				x: hidden,
				y: normed,
				tokens: m,
				width,
				eps: 1e-6,
				centred: true,
				...affine,
				table: vectors,
				stride,
				scale: width,
				shift: 0,
				label: "residual norm",
			});
		linear("input_proj", input, hidden, channels, width);
		siluOfSum(pass, {
			x: condition,
			table: this.#times,
			row: index,
			y: activated,
			tokens: m,
			width,
			label: "residual silu",
		});
		for (let block = 0; block < depth; block++) {
			const name = `res_blocks.${block}`;
			linear(`${name}.adaLN_modulation.1`, activated, vectors, width, 3 * width);
			norm(3 * width, this.#weights.linear(`${NET}.${name}.in_ln`));
			linear(`${name}.mlp.0`, normed, inner, width, width);
			silu(pass, { x: inner, y: normed, count: m * width, label: "residual silu" });
			linear(`${name}.mlp.2`, normed, inner, width, width);
			addGated(pass, {
				x: inner,
				gates: vectors,
				stride: 3 * width,
				at: 2 * width,
				y: hidden,
				tokens: m,
				width,
				label: "residual gate",
			});
		}
		linear("final_layer.adaLN_modulation.1", activated, vectors, width, 2 * width);
		norm(2 * width, {});
		linear("final_layer.linear", normed, out, width, 2 * channels);
	}

	destroy(): void {
		this.#gpu.free(this.#times, ...Object.values(this.#work));
	}
}

/**
 * `steps` of a diffusion of a thousand with a cosine schedule (arXiv 2102.09672), noisiest first, evenly spread: their
 * betas follow from the products of the thousand. Exact to f64.
 */
export function diffusionSchedule(steps: number): (Denoising & { time: number })[] {
	const all = 1000;
	const bar = (t: number) => Math.cos((((t / all + 0.008) / 1.008) * Math.PI) / 2) ** 2;
	const products: number[] = [];
	for (let t = 0; t < all; t++) products.push((products[t - 1] ?? 1) * (1 - Math.min(1 - bar(t + 1) / bar(t), 0.999)));
	const times = Array.from({ length: steps }, (_, i) => Math.round((i * (all - 1)) / (steps - 1)));
	const at = (i: number) => {
		const [product, before] = [products[times[i]], i > 0 ? products[times[i - 1]] : 1];
		const beta = 1 - product / before;
		return { product, before, beta, variance: (beta * (1 - before)) / (1 - product) };
	};
	return times
		.map((time, i) => {
			const { product, before, beta } = at(i);
			return {
				time,
				ofX: Math.sqrt(1 / product),
				ofNoise: Math.sqrt(1 / product - 1),
				meanOfStart: (beta * Math.sqrt(before)) / (1 - product),
				meanOfX: ((1 - before) * Math.sqrt(1 - beta)) / (1 - product),
				// The last step's variance is 0, whose logarithm is not to be used.
				leastLog: Math.log(at(Math.max(1, i)).variance),
				mostLog: Math.log(beta),
				noise: Number(i > 0),
				times: i > 0 ? 1 : LATENT_SCALE,
			};
		})
		.reverse();
}

/**
 * A table [times, width]: each through cosines, then sines, of falling frequencies, a linear map, SiLU and another. The
 * caller frees it.
 */
export function timeEmbeddings(
	gpu: Gpu,
	weights: Weights,
	module: string,
	times: readonly number[],
	width: number,
): Tensor {
	const half = TIME_CHANNELS / 2;
	const frequencies = Array.from({ length: half }, (_, i) => Math.fround(Math.exp((-Math.log(10_000) * i) / half)));
	const features = times.flatMap((time) =>
		[Math.cos, Math.sin].flatMap((of) => frequencies.map((frequency) => of(Math.fround(time * frequency)))),
	);
	const m = times.length;
	const x = gpu.upload(`${module} features`, [m, TIME_CHANNELS], Float32Array.from(features));
	const [inner, activated, y] = ["inner", "silu", "table"].map((name) => gpu.tensor(`${module} ${name}`, [m, width]));
	const pass = gpu.pass(module);
	matmul(pass, {
		x,
		y: inner,
		...weights.linear(`${module}.mlp.0`),
		m,
		k: TIME_CHANNELS,
		n: width,
		label: `${module}.mlp.0`,
	});
	silu(pass, { x: inner, y: activated, count: m * width, label: `${module} silu` });
	matmul(pass, {
		x: activated,
		y,
		...weights.linear(`${module}.mlp.2`),
		m,
		k: width,
		n: width,
		label: `${module}.mlp.2`,
	});
	pass.afterwards(() => gpu.free(x, inner, activated));
	pass.submit();
	return y;
}
