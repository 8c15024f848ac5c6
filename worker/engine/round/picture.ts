import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Graph } from "../../families/family.ts";
import { commonSteps } from "../../policies/common-steps.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import { outcomesOf, type StagePlan, type Step } from "../../protocol/plan.ts";
import type { Detail } from "./detail.ts";
import type { KeyValueStore } from "./key-value-store.ts";
import { COND, lastScaleOf, ROWS, rowsOf, storedKeys, UNCOND } from "./kv-plan.ts";
import type { JobOptions } from "./model.ts";
import { type Retained, retainedKey, type Source, type Span, sourceOf, spansOf } from "./spans.ts";
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
	/** Tokens of every scale, and its codes: one a cell of its grid. */
	tokens: readonly number[];
	codes: readonly number[];
	/**
	 * Keys of the text that cross attention sees, none where there is no text: first by block, and how many by guidance
	 * row, one after the other.
	 */
	context: { keys: number[]; counts: readonly number[] };
	/** What its plan may turn out to be. */
	outcomes: readonly StagePlan[];
	/** By scale, of its plan as it is now. */
	spans: readonly (readonly Span[])[];
	/** Of a block of its graph. */
	sublayers: number;
	/** The conditioning has been recorded. */
	begun: boolean;
	/** By guidance row, then by block; empty once no later step computes the row. */
	keys: KeyRange[][];
	/** Also store the keys of a row's last scale, which no step reads: they are tapped. */
	keepLast: boolean;
	/** What later restorations fill from. */
	retained: Map<string, Retained>;
	/** Of pictures that its plan looks at, by scale. */
	details: Map<number, Detail>;
	/** Given draws, on the device. */
	drawn: Map<string, Tensor>;
	/** Its largest round. */
	most: Need;
}

/** Allocates what lives as long as the job. Throws DeviceError with nothing left allocated. */
export function openJob(
	gpu: Gpu,
	graph: Graph,
	store: KeyValueStore,
	schedule: Schedule,
	slot: number,
	options: JobOptions,
): Job {
	const { plan, draws } = options;
	const { depth, width } = graph.shape;
	const codes = schedule.grids.map(([height, width]) => height * width);
	const tokens = codes.map((count, scale) => (scale === 0 ? graph.startTokens : count));
	const context = { keys: [] as number[], counts: graph.contextKeys(options) };
	const outcomes = outcomesOf(plan);
	const sublayers = graph.sublayers.length;
	const job: Job = {
		...options,
		slot,
		grids: schedule.grids,
		tokens,
		codes,
		context,
		sublayers,
		outcomes,
		spans: spansByScale(plan, sublayers),
		most: mostOf(outcomes, tokens),
		begun: false,
		keys: [],
		keepLast: tapsLast(options, depth),
		retained: new Map(),
		details: new Map(),
		drawn: new Map(),
	};
	try {
		for (const [name, data] of draws)
			if (name !== "text.ids")
				job.drawn.set(name, gpu.upload(name, [data.length], data.slice() as Float32Array<ArrayBuffer>));
		for (let block = 0; block < depth; block++) context.keys.push(store.take(block, contextKeys(job)));
		for (const row of [COND, UNCOND]) {
			const ranges: KeyRange[] = [];
			job.keys.push(ranges);
			for (const [block, capacity] of mostKeys(job, depth, row).entries())
				ranges.push({ start: store.take(block, capacity), capacity, used: 0 });
		}
		const sources = [
			...outcomes.flatMap((outcome) => sourcesIn(outcome, sublayers)),
			...sourcesOfBranches(options, sublayers),
		];
		for (const source of sources) {
			if (job.retained.has(retainedKey(source))) continue;
			const rows = Math.max(...outcomes.map(({ steps }) => rowsAt(steps[source.scale])));
			job.retained.set(retainedKey(source), {
				...source,
				rows: [],
				tensor: gpu.tensor(`retained ${retainedKey(source)}`, [rows * codes[source.scale], width]),
			});
		}
		return job;
	} catch (error) {
		closeJob(gpu, job, store);
		throw error;
	}
}

/** What the spans of a plan fill from. */
const sourcesIn = (plan: StagePlan, sublayers: number): Source[] =>
	spansByScale(plan, sublayers)
		.flat()
		.flatMap((span) => sourceOf(span) ?? []);

/** What plans that leave this one's way later need of the steps they share. */
const sourcesOfBranches = ({ plan, branches = [] }: JobOptions, sublayers: number): Source[] =>
	branches.flatMap((branch) =>
		outcomesOf(branch)
			.flatMap((outcome) => sourcesIn(outcome, sublayers))
			.filter(({ scale }) => scale < commonSteps(plan, branch)),
	);

function tapsLast({ plan, taps }: JobOptions, depth: number): boolean {
	const last = plan.steps.findLastIndex(({ kind }) => kind === "run");
	return Array.from({ length: depth }, (_, block) => `s${last}.blk${block}`).some(
		(name) => taps.wants(`${name}.k_cache`) || taps.wants(`${name}.v_cache`),
	);
}

/** Settles the plan: what only the other outcomes needed is given back. */
export function settleJob(job: Job, store: KeyValueStore, plan: StagePlan): void {
	const after = job.plan.decide?.after ?? 0;
	Object.assign(job, { plan, outcomes: [plan], spans: spansByScale(plan, job.sublayers) });
	releaseKeys(job, store, after);
}

/** The last scale that computes a guidance row, in whatever the plan turns out to be. */
const lastOf = ({ outcomes }: Job, row: number) => Math.max(...outcomes.map((plan) => lastScaleOf(plan, row)));

/** Whether a scale's keys of a guidance row are stored. */
export const stores = (job: Job, row: number, scale: number): boolean =>
	scale < lastOf(job, row) + Number(job.keepLast);

const spansByScale = ({ steps }: StagePlan, sublayers: number): Span[][] =>
	steps.map((step) => (step.kind === "run" ? spansOf(step, sublayers) : []));

const rowsAt = (step: Step): number => (step.kind === "run" ? rowsOf(step).length : 0);

/** Keys of a guidance row by block, enough for any outcome. */
function mostKeys({ outcomes, tokens, keepLast }: Job, depth: number, row: number): number[] {
	const stored = outcomes.map((plan) => storedKeys(plan, tokens, depth, row, keepLast));
	return Array.from({ length: depth }, (_, block) => Math.max(...stored.map((keys) => keys[block])));
}

/** Gives a guidance row's keys back once no later step of the plan computes it. */
export function releaseKeys(job: Job, store: KeyValueStore, scale: number): void {
	job.keys.forEach((ranges, row) => {
		if (scale < lastOf(job, row)) return;
		ranges.splice(0).forEach(({ start, capacity }, block) => store.give(block, start, capacity));
	});
}

/** Gives back all that `openJob` took. */
export function closeJob(gpu: Gpu, job: Job, store: KeyValueStore): void {
	releaseKeys(job, store, job.grids.length);
	job.context.keys.forEach((start, block) => store.give(block, start, contextKeys(job)));
	gpu.free(...[...job.retained.values()].map(({ tensor }) => tensor), ...job.drawn.values());
}

const contextKeys = ({ context: { counts } }: Job) => counts.reduce((sum, count) => sum + count, 0);

function mostOf(outcomes: readonly StagePlan[], tokens: readonly number[]): Need {
	const most: Need = { rows: 0, cells: 0, matrix: 0, spans: false, gathers: false };
	for (const [scale, step] of outcomes.flatMap(({ steps }) => [...steps.entries()])) {
		if (step.kind === "skip") continue;
		const rows = rowsOf(step).length;
		most.rows = Math.max(most.rows, rows * tokens[scale]);
		most.cells = Math.max(most.cells, scale === 0 ? ROWS * tokens[scale] : tokens[scale]);
		for (const { count, write } of step.reduce) {
			if (write === "kept") most.gathers = true;
			else most.matrix = Math.max(most.matrix, rows * tokens[scale] * count);
		}
		most.spans ||= step.reduce.length > 0;
	}
	return most;
}
