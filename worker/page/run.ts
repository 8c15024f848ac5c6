/** A picture as the page knows it: what was asked, every scale so far, and the finished picture. */
import type { FinalEvent, JobEvent } from "../protocol/job.ts";
import type { Stage, StagePlan } from "../protocol/plan.ts";
import type * as protocol from "../protocol/trunk.ts";
import type { Ask } from "./edge.ts";

export interface Frame {
	index: number;
	grid: [height: number, width: number];
	stage: Stage;
	milliseconds: number;
	blob: Blob | null;
}

export type RunState = "waiting" | "running" | "done" | "failed" | "stopped";

/** Facts of the finished picture; the picture itself is `Run.picture`. */
export type Facts = Omit<FinalEvent, "type" | "base64">;

export type Trunk = protocol.Trunk<string>;

export interface Run {
	ask: Ask;
	/** Whose the first scales are, where they are another picture's. */
	trunk?: Trunk;
	/** Made beside others, so that its times are not its own. */
	together?: boolean;
	state: RunState;
	job?: string;
	model?: string;
	plan?: StagePlan;
	grids: readonly (readonly [number, number])[];
	width: number;
	height: number;
	/** Words of the prompt that the model does not know, as the edge says. */
	unknown?: string[];
	/** In the order they came; those that were taken over from another picture included. */
	frames: Frame[];
	facts?: Facts;
	picture?: Blob;
	/** By this browser's clock, `performance.now()`. */
	begun: number;
	/** When the last event came: the scale in progress runs since then. */
	at: number;
	/** Milliseconds from the request to the first preview, and to the finished picture. */
	preview?: number;
	took?: number;
}

export function newRun(ask: Ask, trunk?: Run["trunk"]): Run {
	const now = performance.now();
	return { ask, trunk, state: "waiting", grids: [], width: 1, height: 1, frames: [], begun: now, at: now };
}

export function trunkInWords({ seed, scales, before }: Trunk): string {
	return before
		? `${trunkInWords(before)}, then up to ${scales} of seed ${seed}`
		: `the first ${scales} of seed ${seed}`;
}

/** Takes an event of the job's log into the run. */
export function take(run: Run, event: JobEvent): void {
	const now = performance.now();
	run.at = now;
	if (event.type === "plan") {
		const { job, model, plan, grids, width, height, unknownWords } = event;
		Object.assign(run, { job, model, plan, grids, width, height, unknown: unknownWords });
	} else if (event.type === "revision") {
		run.plan = event.plan;
	} else if (event.type === "scale") {
		run.state = "running";
		const { index, grid, stage, milliseconds, base64, mime } = event;
		const blob = base64 && mime ? blobOf(base64, mime) : null;
		run.frames = [...run.frames.filter((frame) => frame.index !== index), { index, grid, stage, milliseconds, blob }];
		if (blob) run.preview ??= now - run.begun;
	} else if (event.type === "final") {
		const { type: _, base64, ...facts } = event;
		run.state = "done";
		run.facts = facts;
		run.picture = blobOf(base64, facts.mime);
		run.took = now - run.begun;
	}
}

/** Milliseconds of every scale that was computed, by index. */
export function measured({ frames }: Pick<Run, "frames">): Map<number, number> {
	return new Map(frames.map(({ index, milliseconds }) => [index, milliseconds]));
}

/** Scales that the plan runs, up to where a sketch stops. */
export function executed({ plan, ask }: Pick<Run, "plan" | "ask">): number[] {
	const until = ask.until === undefined ? Infinity : Number(ask.until);
	return (plan?.steps ?? []).flatMap(({ kind }, index) => (kind === "run" && index <= until ? [index] : []));
}

/** The scale that is being computed now; undefined before the plan and after the last one. */
export function current(run: Run): number | undefined {
	if (run.state !== "running" && run.state !== "waiting") return undefined;
	const done = measured(run);
	return executed(run).find((index) => !done.has(index));
}

export function subjectOf({ prompt, class: label }: Pick<Ask, "prompt" | "class">): string {
	return prompt ?? `class ${label}`;
}

export const sizeName = ([height, width]: readonly number[]): string => `${width}×${height}`;

/** Of blobs that were made here: to read one back, another process of the browser is asked for it. */
const made = new WeakMap<Blob, Uint8Array<ArrayBuffer>>();

/** A blob's bytes where they are at hand. */
export const bytesAtHand = (blob: Blob): Uint8Array<ArrayBuffer> | undefined => made.get(blob);

export function blobOf(base64: string, type: string): Blob {
	const decode = (Uint8Array as unknown as { fromBase64?(text: string): Uint8Array<ArrayBuffer> }).fromBase64;
	const bytes = decode ? decode(base64) : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
	const blob = new Blob([bytes], { type });
	made.set(blob, bytes);
	return blob;
}
