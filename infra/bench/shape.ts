/**
 * A published shape scale by scale: a few of its blocks run with random weights, the rest extrapolated and marked so.
 */
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openModel } from "../../worker/engine/open.ts";
import { transformerFlops } from "../../worker/engine/paper/flops.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { infinity } from "../../worker/families/infinity/index.ts";
import { configOf } from "../../worker/families/model.ts";
import type { Dtype } from "../../worker/families/shared/weights.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { type Stage, type StagePlan, type Step, settle } from "../../worker/protocol/plan.ts";
import { median } from "../median.ts";
import type { Watch } from "./measure.ts";
import { INFINITY_2B, INFINITY_8B, INFINITY_125M, randomFloats, randomInfinity } from "./random-model.ts";

export interface Shape {
	name: string;
	depth: number;
	/** A model of that shape with so many blocks. */
	folder(depth: number): ModelFolder;
}
export const SHAPES: readonly Shape[] = [
	{ name: "infinity-125m", depth: 12, folder: (depth) => randomInfinity(INFINITY_125M, depth) },
	{ name: "infinity-2b", depth: 32, folder: (depth) => randomInfinity(INFINITY_2B, depth) },
	{ name: "infinity-8b", depth: 40, folder: (depth) => randomInfinity(INFINITY_8B, depth) },
];

export interface ShapeOptions extends Pick<Watch, "signal"> {
	shape: Shape;
	/** By name. */
	policies: readonly string[];
	blocks: number;
	/** First and last scale to time; those before are run too, for their keys. */
	scales: [from: number, to: number];
	maxSeconds: number;
	dtype?: Dtype;
	/** At most. */
	rounds?: number;
}
export interface ShapeScale {
	scale: number;
	grid: string;
	stage: Stage;
	rows: string;
	/** Milliseconds of the blocks run; null: not run. */
	measured_ms: number | null;
	gflops: number | null;
	/**
	 * All blocks: the measured time by the ratio of floating point operations, or, not run, operations at the best rate
	 * shown.
	 */
	extrapolated_ms: number | null;
}
export interface ShapePolicy {
	policy: string;
	scales: ShapeScale[];
	/** Of all scales, extrapolated. */
	total_ms: number | null;
	/** Rounds that reached the first scale to be timed. */
	rounds: number;
}
export interface ShapeReport {
	shape: string;
	blocks: number;
	depth: number;
	policies: ShapePolicy[];
}

const TEXT_TOKENS = 24;
const MOST_ROUNDS = 6;
const WARM_SCALE = 2;
/** The first scales only read weights: their rate says nothing of later ones. */
const TELLING_TOKENS = 16;

/**
 * Rounds over the policies until the time is spent, after compiling and one over the first scales, whose time does not
 * count. Figures are medians.
 */
export async function benchShape(
	gpu: Gpu,
	{ shape, policies: names, blocks, scales: [from, to], maxSeconds, dtype, rounds = MOST_ROUNDS, signal }: ShapeOptions,
): Promise<ShapeReport> {
	const { name: shapeName, depth, folder } = shape;
	const part = folder(blocks);
	const model = await openModel(gpu, part, { dtype });
	const features = randomFloats(TEXT_TOKENS * configOf(part, infinity).textChannels, 2);
	const planOf = (name: string, last: number) => upTo(policies[name].plan(model.info, {}), last);
	// Beforehand, so that nothing keeps an interrupt waiting.
	await model.compile(names.map((name) => planOf(name, to)));
	signal?.throwIfAborted();
	const deadline = performance.now() + maxSeconds * 1000;
	const samples = new Map<string, number[][]>(names.map((name) => [name, []]));
	const findings = new Map<string, number>();
	const time = async (name: string, last: number) => {
		const timed = await timeScales(model, features, planOf(name, last), deadline, signal);
		if (timed.measured !== null) findings.set(name, timed.measured);
		return timed.times;
	};
	await time("exact", Math.min(to, WARM_SCALE));
	for (let round = 0; round < rounds && performance.now() < deadline; round++) {
		for (const name of names) samples.get(name)?.push(await time(name, to));
	}
	model.destroy();
	const whole = folder(depth);
	/** With what an open plan found in its picture, which is the same in every round. */
	const settledOf = (name: string) => (info: ModelInfo) => {
		const plan = policies[name].plan(info, {});
		const found = findings.get(name);
		return found === undefined ? plan : settle(plan, found);
	};
	const times = new Map(names.map((name) => [name, mediansByScale(samples.get(name) as number[][], from)]));
	const rates = names.flatMap((name) => shownRate(part, settledOf(name), times.get(name) as (number | null)[]) ?? []);
	const reports = names.map((policy) => ({
		policy,
		rounds: samples.get(policy)?.filter((sample) => sample[from] !== undefined).length ?? 0,
		...extrapolate(
			part,
			whole,
			settledOf(policy),
			times.get(policy) as (number | null)[],
			Math.max(0, ...rates) || null,
		),
	}));
	return { shape: shapeName, blocks, depth, policies: reports };
}

/** Milliseconds of every scale, as many as begin before the deadline. */
async function timeScales(
	model: LoadedModel,
	features: Float32Array,
	plan: StagePlan,
	deadline: number,
	signal?: AbortSignal,
): Promise<{ times: number[]; measured: number | null }> {
	const times: number[] = [];
	let measured: number | null = null;
	if (performance.now() > deadline) return { times, measured };
	const draws = new Map([["text.feats", features]]);
	for await (const result of model.generate({ plan, prompt: "", seed: 1, previews: "none", draws, signal })) {
		if (result.kind === "revision") ({ measured } = result);
		if (result.kind === "final") break;
		if (result.kind !== "scale") continue;
		times[result.index] = result.milliseconds.transformer;
		if (performance.now() > deadline || result.step === result.steps) break;
	}
	return { times, measured };
}

function mediansByScale(samples: readonly number[][], from: number): (number | null)[] {
	const scales = Math.max(0, ...samples.map((sample) => sample.length));
	return Array.from({ length: scales }, (_, scale) => {
		const of = samples.flatMap((sample) => sample[scale] ?? []);
		return scale < from || of.length === 0 ? null : median(of);
	});
}

const upTo = (plan: StagePlan, last: number): StagePlan => ({
	...plan,
	steps: plan.steps.map((step, scale): Step => (scale <= last ? step : { kind: "skip" })),
});

/** The plan that a policy makes for a model. */
type PlanOf = (info: ModelInfo) => StagePlan;

/** Operations a millisecond at the best of the scales that ran and are large enough to tell; null where none is. */
function shownRate(part: ModelFolder, planOf: PlanOf, times: readonly (number | null)[]): number | null {
	const flops = flopsByScale(part, planOf);
	const { grids } = part.manifest.schedules[part.info.defaultSchedule];
	const rates = times.flatMap((time, scale) =>
		time && grids[scale][0] * grids[scale][1] >= TELLING_TOKENS ? flops[scale] / time : [],
	);
	return rates.length ? Math.max(...rates) : null;
}

/**
 * From the times of the blocks that ran (null: did not) to all blocks, by floating point operations; scales that did
 * not run at `rate` operations a millisecond.
 */
export function extrapolate(
	part: ModelFolder,
	whole: ModelFolder,
	planOf: PlanOf,
	times: readonly (number | null)[],
	rate: number | null,
): { scales: ShapeScale[]; total_ms: number | null } {
	const plan = planOf(whole.info);
	const { grids } = whole.manifest.schedules[plan.schedule];
	const [ran, all] = [flopsByScale(part, planOf), flopsByScale(whole, planOf)];
	const scales = plan.steps.flatMap((step, scale): ShapeScale[] => {
		if (step.kind === "skip") return [];
		const time = times[scale] ?? null;
		const kept = step.reduce.length ? `, ${step.reduce[0].count} of ${grids[scale][0] * grids[scale][1]} tokens` : "";
		return [
			{
				scale,
				grid: grids[scale].join("x"),
				stage: step.stage,
				rows: `${step.rows}${kept}`,
				measured_ms: time,
				gflops: time ? ran[scale] / time / 1e6 : null,
				extrapolated_ms: time ? (time * all[scale]) / ran[scale] : rate ? all[scale] / rate : null,
			},
		];
	});
	return {
		scales,
		total_ms: rate ? scales.reduce((sum, { extrapolated_ms }) => sum + (extrapolated_ms ?? 0), 0) : null,
	};
}

function flopsByScale(model: ModelFolder, planOf: PlanOf): number[] {
	const plan = planOf(model.info);
	return transformerFlops(model, model.info.schedules[plan.schedule], plan, TEXT_TOKENS);
}
