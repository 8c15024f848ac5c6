/** What a model family is to the engine: it opens jobs and runs rounds, one scale of each of several jobs at a time. */

import type { Draws } from "../../families/family.ts";
import type { Taps } from "../../families/shared/taps.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { RgbImage } from "../types.ts";
import type { Snapshot } from "./snapshot.ts";

export type { Draws };

export interface JobOptions {
	plan: StagePlan;
	seed: number;
	/** Token ids of the prompt, or the one class label. */
	ids: readonly number[];
	draws: Draws;
	taps: Taps;
	/** Other plans that may go on from a snapshot of this job. */
	branches?: readonly StagePlan[];
}

/** One scale of one job: transformer, sampling, codes into the latent, pictures of it. */
export interface Step<Job> {
	job: Job;
	scale: number;
	/** Run head and sampling. Off where logged codes are replayed. */
	sample: boolean;
	/** Packed codes to go on with; absent: those sampled. */
	forced?: Uint8Array;
	/**
	 * Scales at whose grids the latent is decoded, once the codes are in it; the schedule's last gives the finished
	 * picture.
	 */
	pictures: readonly number[];
}
/** Both settle by step, in the order of the steps. */
export interface Round {
	/** Packed codes sampled; null where none were. */
	codes: Promise<(Uint8Array<ArrayBuffer> | null)[]>;
	pictures: Promise<RgbImage[][]>;
}

export interface Family<Job = unknown> {
	/** Jobs that can be open at once. */
	readonly slots: number;
	/** Tokens, over all guidance rows, that one round takes at most; a single step may have more. */
	readonly maxTokens: number;
	tokensOf(step: Step<Job>): number;
	/** Allocates a job. Throws DeviceError when it does not fit, RangeError when all slots are taken. */
	open(options: JobOptions): Job;
	/** Records and submits one round; steps are of different jobs, and the scales of a job come in order. */
	round(steps: readonly Step<Job>[]): Round;
	/** Copies what the job is after `scales` steps; between two rounds of it. Free it with `forget`. */
	snapshot(job: Job, scales: number): Snapshot;
	/** Puts a job that has run nothing yet where the snapshot was taken. */
	restore(job: Job, snapshot: Snapshot): void;
	forget(snapshot: Snapshot): void;
	/**
	 * Looks at the picture after a scale that its plan gathers by; `picture`: as it was decoded already. Between the
	 * rounds of that scale and the next.
	 */
	look(job: Job, scale: number, picture?: RgbImage): Promise<void>;
	/**
	 * Measures what the job's plan leaves to be decided and settles it. Between the rounds of the scale that is looked at
	 * and the next.
	 */
	settle(job: Job): Promise<number>;
	close(job: Job): void;
	/** The picture of a latent [height * width, channels] given from outside. Throws RangeError when it is too large. */
	decode(
		latent: Float32Array<ArrayBuffer>,
		grid: readonly [height: number, width: number],
		taps: Taps,
	): Promise<RgbImage>;
	destroy(): void;
}
