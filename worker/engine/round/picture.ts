/** One picture: what it needs of the device, and its state there from open to close. */
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { Draws, Graph } from "../../families/family.ts";
import type { Taps } from "../../families/shared/taps.ts";
import { commonSteps } from "../../policies/common-steps.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import { outcomesOf, type StagePlan, type Step } from "../../protocol/plan.ts";
import { kindOf } from "../../protocol/reductions/index.ts";
import type { Detail } from "./detail.ts";
import { checkDraws } from "./draws.ts";
import type { KeyCounts, KeyValueStore } from "./key-value-store.ts";
import { COND, lastScaleOf, ROWS, rowsOf, storedKeys, UNCOND } from "./kv-plan.ts";
import type { Planned } from "./room.ts";
import { type Retained, type Source, type Span, sourceKey, sourcesIn, spansByScale } from "./spans.ts";
import type { WorkspaceNeed } from "./workspace.ts";

export interface PictureOptions {
	plan: StagePlan;
	seed: number;
	/** Token ids of the prompt, or the one class label. */
	ids: readonly number[];
	draws: Draws;
	taps: Taps;
	/** Other plans that may go on from a snapshot of this picture. */
	branches?: readonly StagePlan[];
}

/** What follows from a picture's options and the model alone; nothing of it is on the device. */
export interface PictureNeeds extends PictureOptions {
	grids: Schedule["grids"];
	/** Tokens of every scale, and its codes: one a cell of its grid. */
	tokens: readonly number[];
	codes: readonly number[];
	/** Sublayers of a block of its graph. */
	sublayers: number;
	/** What its plan may turn out to be. */
	outcomes: readonly StagePlan[];
	/** By scale, of its plan as it is now. */
	spans: readonly (readonly Span[])[];
	/** Also store the keys of a row's last scale, which no step reads: they are tapped. */
	storesLast: boolean;
	/** Keys of the text that cross attention sees, by guidance row; 0 where there is no text. */
	textKeys: readonly number[];
	/**
	 * In every block: of each guidance row over all scales, then of the text. A text of another length than the one that
	 * has left then takes no row's place.
	 */
	keys: KeyCounts;
	/** What later spans fill from, with the shape of each. */
	sources: readonly { source: Source; planned: Planned }[];
	/** Of its largest round. */
	work: WorkspaceNeed;
}

/** Where the text stands in `keys`: behind the guidance rows. */
const TEXT = ROWS;

/** Cached keys of one guidance row in one block. */
interface KeyRange {
	start: number;
	capacity: number;
	used: number;
}

/** One picture's state on the device, beside the rows of its slot in the tables that all pictures share. */
export interface Picture extends PictureNeeds {
	slot: number;
	/** Keys of the text: first by block, and how many by guidance row, one after the other. */
	context: { keys: readonly number[]; counts: readonly number[] };
	/** The conditioning has been recorded. */
	begun: boolean;
	/** By guidance row, then by block; empty once no later step computes the row. */
	ranges: KeyRange[][];
	/** By `sourceKey`. */
	retained: ReadonlyMap<string, Retained>;
	/** Of decoded pictures that its plan looks at, by scale. */
	details: Map<number, Detail>;
	/** Given draws, on the device. */
	drawn: ReadonlyMap<string, Tensor>;
	/** Of what is retained and drawn. */
	owned: Scope;
}

/** What a picture will need. Throws RangeError for text that the graph does not take, and for draws of another plan. */
export function pictureNeeds(graph: Graph, schedule: Schedule, options: PictureOptions): PictureNeeds {
	const { plan, branches = [] } = options;
	const { depth, width } = graph.shape;
	const codes = schedule.grids.map(([height, width]) => height * width);
	const tokens = codes.map((count, scale) => (scale === 0 ? graph.startTokens : count));
	const sublayers = graph.sublayers.length;
	const outcomes = outcomesOf(plan);
	checkDraws(graph, options.draws, outcomes, tokens);
	const textKeys = graph.contextKeys(options);
	const storesLast = tapsLastKeys(options, depth);
	const byRow = [COND, UNCOND].map((row) =>
		outcomes.map((outcome) => storedKeys(outcome, tokens, depth, row, storesLast)),
	);
	// What plans that leave this one's way later need of the steps they share.
	const ofBranches = branches.flatMap((branch) =>
		outcomesOf(branch)
			.flatMap((outcome) => sourcesIn(outcome, sublayers))
			.filter(({ scale }) => scale < commonSteps(plan, branch)),
	);
	const sources = [...outcomes.flatMap((outcome) => sourcesIn(outcome, sublayers)), ...ofBranches];
	const rowsAt = (scale: number) => Math.max(...outcomes.map(({ steps }) => rowCount(steps[scale])));
	return {
		...options,
		grids: schedule.grids,
		tokens,
		codes,
		sublayers,
		outcomes,
		spans: spansByScale(plan, sublayers),
		storesLast,
		textKeys,
		keys: Array.from({ length: depth }, (_, block) => [
			...byRow.map((stored) => Math.max(...stored.map((keys) => keys[block]))),
			sumOf(textKeys),
		]),
		sources: [...new Map(sources.map((source) => [sourceKey(source), source]))].map(([key, source]) => ({
			source,
			planned: { label: `retained ${key}`, shape: [rowsAt(source.scale) * codes[source.scale], width], long: true },
		})),
		work: largestRound(outcomes, tokens),
	};
}

const rowCount = (step: Step): number => (step.kind === "run" ? rowsOf(step).length : 0);
const sumOf = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);

function tapsLastKeys({ plan, taps }: PictureOptions, depth: number): boolean {
	const last = plan.steps.findLastIndex(({ kind }) => kind === "run");
	return Array.from({ length: depth }, (_, block) => `s${last}.blk${block}`).some(
		(name) => taps.wants(`${name}.k_cache`) || taps.wants(`${name}.v_cache`),
	);
}

/** What the largest round of one picture needs, by whatever its plan turns out to be; `tokens`: of every scale. */
export function largestRound(outcomes: readonly StagePlan[], tokens: readonly number[]): WorkspaceNeed {
	const most: WorkspaceNeed = { rows: 0, longest: 0, cells: 0, matrix: 0, spans: false, gathers: false };
	for (const [scale, step] of outcomes.flatMap(({ steps }) => [...steps.entries()])) {
		if (step.kind === "skip") continue;
		const rows = rowsOf(step).length;
		most.rows = Math.max(most.rows, rows * tokens[scale]);
		most.longest = Math.max(most.longest, tokens[scale]);
		most.cells = Math.max(most.cells, scale === 0 ? ROWS * tokens[scale] : tokens[scale]);
		for (const reduction of step.reduce) {
			const need = kindOf(reduction).need(reduction, rows * tokens[scale]);
			most.matrix = Math.max(most.matrix, need.matrix);
			most.gathers ||= need.gathers;
		}
		most.spans ||= step.reduce.length > 0;
	}
	return most;
}

/** Given draws that go to the device. */
const deviceDraws = ({ draws }: PictureNeeds) => [...draws].filter(([name]) => name !== "text.ids");

/** Tensors that `openPicture` makes, beside the store's. */
export const pictureTensors = (needs: PictureNeeds): Planned[] => [
	...deviceDraws(needs).map(([label, { length }]) => ({ label, shape: [length], long: true })),
	...needs.sources.map(({ planned }) => planned),
];

/** Allocates what lives as long as the picture. Throws DeviceError with nothing left allocated. */
export function openPicture(gpu: Gpu, store: KeyValueStore, slot: number, needs: PictureNeeds): Picture {
	using made = new Scope(gpu);
	const drawn = deviceDraws(needs).map(
		([name, data]) =>
			[name, made.upload(name, [data.length], data.slice() as Float32Array<ArrayBuffer>, true)] as const,
	);
	const retained = needs.sources.map(({ source, planned: { label, shape } }): [string, Retained] => [
		sourceKey(source),
		{ ...source, rows: [], tensor: made.long(label, shape) },
	]);
	const starts = store.take(needs.keys);
	return {
		...needs,
		slot,
		context: { keys: starts.map((start) => start[TEXT]), counts: needs.textKeys },
		begun: false,
		ranges: [COND, UNCOND].map((row) =>
			starts.map((start, block) => ({ start: start[row], capacity: needs.keys[block][row], used: 0 })),
		),
		retained: new Map(retained),
		details: new Map(),
		drawn: new Map(drawn),
		owned: made.move(),
	};
}

/** The picture's plan from here on: what only the other outcomes needed is given back. */
export function settlePicture(picture: Picture, store: KeyValueStore, plan: StagePlan): void {
	const after = picture.plan.decide?.after ?? 0;
	Object.assign(picture, { plan, outcomes: [plan], spans: spansByScale(plan, picture.sublayers) });
	releaseKeys(picture, store, after);
}

/** The last scale that computes a guidance row, in whatever the plan turns out to be. */
const lastOf = ({ outcomes }: Picture, row: number) => Math.max(...outcomes.map((plan) => lastScaleOf(plan, row)));

/** Whether a scale's keys of a guidance row are stored. */
export const storesKeys = (picture: Picture, row: number, scale: number): boolean =>
	scale < lastOf(picture, row) + Number(picture.storesLast);

/** Gives a guidance row's keys back once no later step of the plan computes it. */
export function releaseKeys(picture: Picture, store: KeyValueStore, scale: number): void {
	picture.ranges.forEach((ranges, row) => {
		if (scale < lastOf(picture, row)) return;
		ranges.splice(0).forEach(({ start, capacity }, block) => store.give(block, start, capacity));
	});
}

/** Gives back all that `openPicture` took. */
export function closePicture(picture: Picture, store: KeyValueStore): void {
	releaseKeys(picture, store, picture.grids.length);
	picture.context.keys.forEach((start, block) => store.give(block, start, picture.keys[block][TEXT]));
	picture.owned[Symbol.dispose]();
}
