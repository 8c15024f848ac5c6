import type { Gpu, Tensor } from "../../../../kernels/gpu.ts";
import type { InfinityConfig } from "../../../../model-shards/infinity-config.ts";
import type { Schedule } from "../../../protocol/model-info.ts";
import type { Reduction, RunStep, StagePlan } from "../../../protocol/plan.ts";
import type { JobOptions } from "../family.ts";
import type { KeyValueStore } from "../key-value-store.ts";
import { lastScaleOf, rowsOf, storedKeys } from "./kv-plan.ts";
import { COND, type TextJob, UNCOND } from "./text.ts";
import type { Need } from "./workspace.ts";

/** Cached keys of one guidance row, by block. */
interface KeyRange {
	start: number;
	capacity: number;
	used: number;
}

/** One picture's state on the device, beside the rows of its slot in the tables that all jobs share. */
export interface InfinityJob extends JobOptions {
	slot: number;
	grids: Schedule["grids"];
	/** Tokens of every scale. */
	tokens: readonly number[];
	text: TextJob;
	/** The text side has been recorded. */
	begun: boolean;
	/** By guidance row, then by block; empty once no later step computes the row. */
	keys: KeyRange[][];
	/** Also store the keys of a row's last scale, which no step reads: they are tapped. */
	keepLast: boolean;
	/** Outputs that later restorations fill from, by `scale:block boundary`: [rows * tokens, width]. */
	retained: Map<string, { tensor: Tensor; rows: number[] }>;
	/** Given draws, on the device. */
	drawn: Map<string, Tensor>;
	/** Its largest round. */
	most: Need;
}

/** Allocates what lives as long as the job. Throws DeviceError with nothing left allocated. */
export function openJob(gpu: Gpu, config: InfinityConfig, store: KeyValueStore, schedule: Schedule, slot: number, options: JobOptions): InfinityJob {
	const { plan, ids, draws, taps } = options;
	const tokens = schedule.grids.map(([height, width]) => height * width);
	const features = draws.get("text.feats");
	const textTokens = features ? features.length / config.textChannels : ids.length;
	const text = { slot, ids, features: undefined, textTokens, textKeys: [], taps };
	const job: InfinityJob = { ...options, slot, grids: schedule.grids, tokens, begun: false, text, keys: [], keepLast: tapsLast(options, config.depth), retained: new Map(), drawn: new Map(), most: mostOf(plan, tokens) };
	try {
		for (const [name, data] of draws) if (name !== "text.ids") job.drawn.set(name, gpu.upload(name, [data.length], data.slice() as Float32Array<ArrayBuffer>));
		job.text.features = job.drawn.get("text.feats");
		for (let block = 0; block < config.depth; block++) job.text.textKeys.push(store.take(block, 2 * textTokens));
		for (const row of [COND, UNCOND]) {
			const ranges: KeyRange[] = [];
			job.keys.push(ranges);
			for (const [block, capacity] of storedKeys(plan, tokens, config.depth, row, job.keepLast).entries()) ranges.push({ start: store.take(block, capacity), capacity, used: 0 });
		}
		for (const { rest, blocks } of spansOf(plan)) {
			const key = retainedKey(rest.from, blocks[1]);
			const rows = rowsOf(plan.steps[rest.from] as RunStep);
			if (!job.retained.has(key)) job.retained.set(key, { tensor: gpu.tensor(`retained ${key}`, [rows.length * tokens[rest.from], config.width]), rows });
		}
		return job;
	} catch (error) {
		closeJob(gpu, job, store);
		throw error;
	}
}

function tapsLast({ plan, taps }: JobOptions, depth: number): boolean {
	const last = plan.steps.findLastIndex(({ kind }) => kind === "run");
	return Array.from({ length: depth }, (_, block) => `s${last}.blk${block}`).some((name) => taps.wants(`${name}.k_cache`) || taps.wants(`${name}.v_cache`));
}

/** Whether a scale's keys of a guidance row are stored. */
export const stores = ({ plan, keepLast }: InfinityJob, row: number, scale: number): boolean => scale < lastScaleOf(plan, row) + Number(keepLast);

/** Gives a guidance row's keys back once no later step of the plan computes it. */
export function releaseKeys(job: InfinityJob, store: KeyValueStore, scale: number): void {
	job.keys.forEach((ranges, row) => {
		if (scale < lastScaleOf(job.plan, row)) return;
		ranges.splice(0).forEach(({ start, capacity }, block) => store.give(block, start, capacity));
	});
}

export function closeJob(gpu: Gpu, job: InfinityJob, store: KeyValueStore): void {
	releaseKeys(job, store, job.grids.length);
	job.text.textKeys.forEach((start, block) => store.give(block, start, 2 * job.text.textTokens));
	gpu.free(...[...job.retained.values()].map(({ tensor }) => tensor), ...job.drawn.values());
}

export const retainedKey = (scale: number, boundary: number): string => `${scale}:${boundary}`;

const spansOf = ({ steps }: StagePlan): Reduction[] => steps.flatMap((step) => (step.kind === "run" ? step.reduce : []));

function mostOf({ steps }: StagePlan, tokens: readonly number[]): Need {
	const most: Need = { rows: 0, cells: 0, matrix: 0, spans: false };
	for (const [scale, step] of steps.entries()) {
		if (step.kind === "skip") continue;
		const rows = rowsOf(step).length;
		most.rows = Math.max(most.rows, rows * tokens[scale]);
		most.cells = Math.max(most.cells, tokens[scale], 2);
		for (const { count } of step.reduce) most.matrix = Math.max(most.matrix, rows * tokens[scale] * count);
		most.spans ||= step.reduce.length > 0;
	}
	return most;
}
