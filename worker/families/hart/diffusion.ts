import { roundHalfEven } from "../../../kernels/attention/rope.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { addGated, siluOfSum } from "../../../kernels/pointwise/gated.ts";
import { type Denoising, denoise, drawNormals } from "../../../kernels/sample/diffusion.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import type { PictureView } from "../family.ts";
import { ROWS } from "../shared/guidance.ts";
import type { Weights } from "../shared/weights.ts";
import type { ResidualConfig } from "./config.ts";
import { timeEmbeddings } from "./time.ts";

const NET = "transformer.diffloss.net";
/** Of the residual, as the network was trained on it. */
const LATENT_SCALE = 0.6;

interface Diffusion {
	config: ResidualConfig;
	channels: number;
	weights: Weights;
	schedule: readonly (Denoising & { time: number })[];
	/** [steps, width] */
	times: Tensor;
	/** For the rows of one picture. */
	work: Record<
		"x" | "input" | "noise" | "out" | "condition" | "activated" | "vectors" | "hidden" | "normed" | "inner",
		Tensor
	>;
}

export interface Diffuse {
	/** [rows * tokens, from]: the network's condition. */
	z: Tensor;
	from: number;
	picture: PictureView;
	tokens: number;
	rows: number;
	/** t in (1 + t) c - t u, of the noise that the network predicts. */
	guidance: number;
}

/**
 * The residual of a latent by diffusion, token by token, from what the transformer knows of it (HART, after MAR, arXiv
 * 2406.11838): [tokens, channels], and as many more of the second guidance row, until the next run. `tokens`: of the
 * largest latent.
 */
export function residualDiffusion(
	scope: Scope,
	gpu: Gpu,
	config: ResidualConfig,
	channels: number,
	weights: Weights,
	tokens: number,
): (pass: Pass, op: Diffuse) => Tensor {
	const { width, steps } = config;
	const make = (label: string, size: number) => scope.long(`residual ${label}`, [ROWS * tokens, size]);
	const schedule = diffusionSchedule(steps);
	const work = {
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
	const clock = schedule.map(({ time }) => time);
	const times = timeEmbeddings(scope, gpu, weights, `${NET}.time_embed`, clock, width);
	const diffusion: Diffusion = { config, channels, weights, schedule, times, work };
	return (pass, op) => {
		const { picture, tokens, rows, guidance } = op;
		picture.taps.give("diff.cfg", [1], () => Float32Array.of(guidance));
		begin(pass, diffusion, op);
		for (const step of schedule.keys()) denoiseStep(pass, diffusion, op, step);
		picture.taps.keep(pass, "diff.out", work.x, [rows * tokens, channels]);
		return work.x;
	};
}

const FIRST_NOISE = "diff.noise_init";
const stepName = (step: number): string => `diff.step${step}`;
const noiseName = (step: number): string => `${stepName(step)}.noise`;

/** As a graph's `residualDraws`: the first noise is every row's. */
export const noiseDraws =
	({ steps }: ResidualConfig, channels: number) =>
	(rows: number, tokens: number): { name: string; length: number }[] => [
		{ name: FIRST_NOISE, length: tokens * channels },
		...Array.from({ length: steps }, (_, step) => ({ name: noiseName(step), length: rows * tokens * channels })),
	];

/** The condition, and the same first noise for every row. */
function begin(
	pass: Pass,
	{ config, channels, weights, work }: Diffusion,
	{ z, from, picture: { drawn, seed }, tokens, rows }: Diffuse,
): void {
	const { x, input, noise, condition } = work;
	const sides = { m: rows * tokens, k: from, n: config.width };
	matmul(pass, { x: z, y: condition, ...weights.linear(`${NET}.cond_embed`), ...sides, label: "residual cond_embed" });
	const given = drawn.get(FIRST_NOISE);
	const draw = { y: noise, to: 0, tokens, channels, seed, stream: 0, step: 0 };
	if (!given) drawNormals(pass, { ...draw, label: "residual first noise" });
	const count = tokens * channels;
	for (let row = 0; row < rows; row++)
		for (const y of [x, input]) copy(pass, { x: given ?? noise, y, to: row * count, count, label: "residual first x" });
}

function denoiseStep(
	pass: Pass,
	diffusion: Diffusion,
	{ picture: { drawn, seed, taps }, tokens, rows, guidance }: Diffuse,
	index: number,
): void {
	const { channels, work } = diffusion;
	const { x, input, noise, out } = work;
	const step = diffusion.schedule[index];
	const m = rows * tokens;
	const name = stepName(index);
	taps.give(`${name}.t`, [1], () => Int32Array.of(step.time));
	taps.keep(pass, `${name}.x`, x, [m, channels]);
	network(pass, diffusion, m, index);
	const recorded = drawn.get(noiseName(index));
	if (!recorded && step.noise)
		for (let stream = 0; stream < rows; stream++) {
			const draw = { y: noise, to: stream * tokens, tokens, channels, seed, stream, step: index + 1 };
			drawNormals(pass, { ...draw, label: "residual noise" });
		}
	const tensors = { out, x, noise: recorded ?? noise, input };
	denoise(pass, { ...tensors, tokens, rows, channels, guidance, step, label: "residual denoise" });
	taps.keep(pass, `${name}.model_out`, out, [m, 2 * channels]);
}

/** out = the network at `input`, its condition and the time of step `index`. */
function network(pass: Pass, { config, channels, weights, times, work }: Diffusion, m: number, index: number): void {
	const { width, depth } = config;
	const { input, out, condition, activated, vectors, hidden, normed, inner } = work;
	const linear = (module: string, x: Tensor, y: Tensor, k: number, n: number) =>
		matmul(pass, { x, y, ...weights.linear(`${NET}.${module}`), m, k, n, label: `residual ${module}` });
	const norm = (stride: number, affine: { weight?: Tensor; bias?: Tensor }) => {
		const modulation = { table: vectors, stride, scale: width, shift: 0 };
		const op = { x: hidden, y: normed, tokens: m, width, eps: 1e-6, centred: true, ...affine, ...modulation };
		modulatedNorm(pass, { ...op, label: "residual norm" });
	};
	linear("input_proj", input, hidden, channels, width);
	const time = { table: times, row: index };
	siluOfSum(pass, { x: condition, ...time, y: activated, tokens: m, width, label: "residual silu" });
	for (let block = 0; block < depth; block++) {
		const name = `res_blocks.${block}`;
		linear(`${name}.adaLN_modulation.1`, activated, vectors, width, 3 * width);
		norm(3 * width, weights.linear(`${NET}.${name}.in_ln`));
		linear(`${name}.mlp.0`, normed, inner, width, width);
		silu(pass, { x: inner, y: normed, count: m * width, label: "residual silu" });
		linear(`${name}.mlp.2`, normed, inner, width, width);
		const gates = { gates: vectors, stride: 3 * width, at: 2 * width };
		addGated(pass, { x: inner, ...gates, y: hidden, tokens: m, width, label: "residual gate" });
	}
	linear("final_layer.adaLN_modulation.1", activated, vectors, width, 2 * width);
	norm(2 * width, {});
	linear("final_layer.linear", normed, out, width, 2 * channels);
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
	// As the official code counts them: by a stride that is added up, each rounded as Python does.
	const times: number[] = [];
	for (let i = 0, at = 0; i < steps; i++, at += (all - 1) / (steps - 1)) times.push(roundHalfEven(at));
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
