import type { Gpu, Tensor } from "../../../kernels/gpu.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { RunStep, StagePlan } from "../../protocol/plan.ts";
import { commonSteps } from "../plan/common-steps.ts";
import type { JobOptions } from "./family.ts";
import type { Graph } from "./graph.ts";
import type { KeyValueStore } from "./key-value-store.ts";
import { COND, lastScaleOf, rowsOf, storedKeys, UNCOND } from "./kv-plan.ts";
import { type Retained, retainedKey, sourceOf, type Span, spansOf } from "./spans.ts";
import type { Need } from "./workspace.ts";

/** Cached keys of one guidance row, by block. */
interface KeyRange {
	start: number;
	capacity: number;
	used: number;
}

/** One picture's state on the device, beside the rows of its slot in the tables that all jobs share. */
export interface Job extends JobOptions {
	slot: number;
	grids: Schedule["grids"];
	/** Tokens of every scale. */
	tokens: readonly number[];
	/** Keys of the text that cross attention sees, none where there is no text: first by block, and how many by guidance row, one after the other. */
	context: { keys: number[]; counts: readonly number[] };
	/** By scale. */
	spans: readonly (readonly Span[])[];
	/** The conditioning has been recorded. */
	begun: boolean;
	/** By guidance row, then by block; empty once no later step computes the row. */
	keys: KeyRange[][];
	/** Also store the keys of a row's last scale, which no step reads: they are tapped. */
	keepLast: boolean;
	/** What later restorations fill from. */
	retained: Map<string, Retained>;
	/** Given draws, on the device. */
	drawn: Map<string, Tensor>;
	/** Its largest round. */
	most: Need;
}

/** Allocates what lives as long as the job. Throws DeviceError with nothing left allocated. */
export function openJob(gpu: Gpu, graph: Graph, store: KeyValueStore, schedule: Schedule, slot: number, options: JobOptions): Job {
	const { plan, draws } = options;
	const { depth, width } = graph.shape;
	const tokens = schedule.grids.map(([height, width]) => height * width);
	const context = { keys: [] as number[], counts: graph.contextKeys(options) };
	const spans = plan.steps.map((step) => (step.kind === "run" ? spansOf(step, graph.sublayers.length) : []));
	const job: Job = { ...options, slot, grids: schedule.grids, tokens, spans, begun: false, context, keys: [], keepLast: tapsLast(options, depth), retained: new Map(), drawn: new Map(), most: mostOf(plan, tokens) };
	try {
		for (const [name, data] of draws) if (name !== "text.ids") job.drawn.set(name, gpu.upload(name, [data.length], data.slice() as Float32Array<ArrayBuffer>));
		for (let block = 0; block < depth; block++) context.keys.push(store.take(block, contextKeys(job)));
		for (const row of [COND, UNCOND]) {
			const ranges: KeyRange[] = [];
			job.keys.push(ranges);
			for (const [block, capacity] of storedKeys(plan, tokens, depth, row, job.keepLast).entries()) ranges.push({ start: store.take(block, capacity), capacity, used: 0 });
		}
		for (const source of [...spans.flat().map(sourceOf), ...sourcesOfBranches(options, graph.sublayers.length)]) {
			if (!source || job.retained.has(retainedKey(source))) continue;
			const rows = rowsOf(plan.steps[source.scale] as RunStep);
			job.retained.set(retainedKey(source), { ...source, rows, tensor: gpu.tensor(`retained ${retainedKey(source)}`, [rows.length * tokens[source.scale], width]) });
		}
		return job;
	} catch (error) {
		closeJob(gpu, job, store);
		throw error;
	}
}

/** What plans that leave this one's way later need of the steps they share. */
function sourcesOfBranches({ plan, branches = [] }: JobOptions, sublayers: number): ReturnType<typeof sourceOf>[] {
	return branches.flatMap((branch) => {
		const common = commonSteps(plan, branch);
		const sources = branch.steps.flatMap((step) => (step.kind === "run" ? spansOf(step, sublayers).map(sourceOf) : []));
		return sources.filter((source) => source && source.scale < common);
	});
}

function tapsLast({ plan, taps }: JobOptions, depth: number): boolean {
	const last = plan.steps.findLastIndex(({ kind }) => kind === "run");
	return Array.from({ length: depth }, (_, block) => `s${last}.blk${block}`).some((name) => taps.wants(`${name}.k_cache`) || taps.wants(`${name}.v_cache`));
}

/** Whether a scale's keys of a guidance row are stored. */
export const stores = ({ plan, keepLast }: Job, row: number, scale: number): boolean => scale < lastScaleOf(plan, row) + Number(keepLast);

/** Gives a guidance row's keys back once no later step of the plan computes it. */
export function releaseKeys(job: Job, store: KeyValueStore, scale: number): void {
	job.keys.forEach((ranges, row) => {
		if (scale < lastScaleOf(job.plan, row)) return;
		ranges.splice(0).forEach(({ start, capacity }, block) => store.give(block, start, capacity));
	});
}

export function closeJob(gpu: Gpu, job: Job, store: KeyValueStore): void {
	releaseKeys(job, store, job.grids.length);
	job.context.keys.forEach((start, block) => store.give(block, start, contextKeys(job)));
	gpu.free(...[...job.retained.values()].map(({ tensor }) => tensor), ...job.drawn.values());
}

const contextKeys = ({ context: { counts } }: Job) => counts.reduce((sum, count) => sum + count, 0);

function mostOf({ steps }: StagePlan, tokens: readonly number[]): Need {
	const most: Need = { rows: 0, cells: 0, matrix: 0, spans: false, gathers: false };
	for (const [scale, step] of steps.entries()) {
		if (step.kind === "skip") continue;
		const rows = rowsOf(step).length;
		most.rows = Math.max(most.rows, rows * tokens[scale]);
		most.cells = Math.max(most.cells, tokens[scale], 2);
		for (const { count, write } of step.reduce) {
			if (write === "kept") most.gathers = true;
			else most.matrix = Math.max(most.matrix, rows * tokens[scale] * count);
		}
		most.spans ||= step.reduce.length > 0;
	}
	return most;
}
