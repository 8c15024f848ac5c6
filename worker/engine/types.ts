/** The engine's contract: what goes into a generation and what comes out. */

import type { Draws, TapNames } from "../families/family.ts";
import type { Tap, TappedTensor } from "../families/shared/taps.ts";
import type { Previews } from "../protocol/job.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Stage, StagePlan } from "../protocol/plan.ts";
import type { Branch } from "./branches.ts";
import type { RgbImage } from "./round/rgb-image.ts";

export type { RgbImage } from "./round/rgb-image.ts";
export type { Draws, Tap, TappedTensor };

export interface GenerateOptions {
	model: LoadedModel;
	plan: StagePlan;
	/** Text to draw, or the class, whichever the model takes. */
	prompt?: string;
	label?: number;
	seed: number;
	/**
	 * In place of the generator's own: `text.feats`, `s4.c0.Q`, `s4.c0.rep_idx`. RangeError for those of another size or
	 * kind than the plan takes.
	 */
	draws?: Draws;
	/** Packed codes of the first scales. By default they are replayed (no head, no sampling, not yielded). */
	forcedCodes?: readonly Uint8Array[];
	/**
	 * Sample at forced scales too (yielded and tapped), then continue from the forced codes: how `verify` checks each
	 * scale.
	 */
	sampleForced?: boolean;
	/** Stop after this scale index (inclusive). Default: the plan's last executed scale. */
	until?: number;
	previews: Previews;
	signal?: AbortSignal;
	tap?: Tap;
	/** Told when it begins to wait for its place, its text encoder or other openings, and when it does so no more. */
	waits?: (waits: boolean) => void;
}

export interface BranchOptions
	extends Omit<
		GenerateOptions,
		"model" | "plan" | "tap" | "forcedCodes" | "sampleForced" | "until" | "previews" | "waits"
	> {
	plans: readonly StagePlan[];
}

export interface ScaleResult {
	kind: "scale";
	index: number;
	grid: [height: number, width: number];
	stage: Stage;
	/** Executed scales so far, this one included, of how many. */
	step: number;
	steps: number;
	/** Sampled bits, packed as in protocol/job.ts `PackedCodes`. */
	codes: Uint8Array<ArrayBuffer>;
	preview: RgbImage | null;
	/** Wall-clock milliseconds: transformer and sampling of the round it was part of, then until its pictures came. */
	milliseconds: { transformer: number; preview: number };
}
export interface FinalResult {
	kind: "final";
	image: RgbImage;
	milliseconds: { decode: number; total: number };
}
/** The rest of a plan that left it open, settled. Yielded before the next scale. */
export interface RevisionResult {
	kind: "revision";
	/** Scale that was looked at, and what was found. */
	after: number;
	measured: number;
	plan: StagePlan;
}
export type GenerateResult = ScaleResult | RevisionResult | FinalResult;

/** A model whose weights are on the device. */
export interface LoadedModel {
	info: ModelInfo;
	/** What a tap asks for by, of all that every family has. */
	names: TapNames;
	/** Pictures it makes at once, in one batch; further ones wait. */
	slots: number;
	/** Those of them that do not wait for each other's texts: one where the text encoder comes for a text. */
	apart: number;
	/** Identifies bit-equal results: engine version, model digest, adapter and driver, kernel variants. */
	numerics: string;
	/**
	 * Compiles every kernel that a picture by these plans needs, those that it needs first at first, without making one;
	 * `Gpu.compiling` is told how far that is. Of `subject`, or of any prompt of up to 32 tokens.
	 */
	compile(plans: readonly StagePlan[], subject?: Pick<GenerateOptions, "prompt" | "label">): Promise<void>;
	generate(options: Omit<GenerateOptions, "model">): AsyncGenerator<GenerateResult, void, undefined>;
	/**
	 * One picture a plan of one prompt or class and seed, each as `generate` makes it; steps that a plan begins with like
	 * the first plan are computed once, as far as the first plan keeps what the other one needs of them.
	 */
	branches(options: BranchOptions): Promise<Branch[]>;
	/** The picture of a latent [height * width, channels] of any size up to the model's largest. */
	decode(
		latent: Float32Array<ArrayBuffer>,
		grid: readonly [height: number, width: number],
		tap?: Tap,
	): Promise<RgbImage>;
	/** Frees every buffer of the model. */
	destroy(): void;
}
