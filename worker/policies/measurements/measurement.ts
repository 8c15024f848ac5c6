/**
 * What a policy needs measured of a model: how policies.json has it, whether it fits, and how `firstlight calibrate`
 * finds it. A file names none of them by itself, so a new one leaves the files that are there as valid as they were.
 */
import { z } from "zod";
import type { ModelInfo, Stages } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";

export type Measurement<T = unknown> = Observed<T> | Tried<T>;
/** By the names that policies.json has them under. */
export type Measurements = Readonly<Record<string, Measurement>>;
/** Their values. */
export type Measured<N extends Measurements> = { [K in keyof N]: z.infer<N[K]["schema"]> };

interface Stored<T> {
	/** How it is stored. One that may be left out is optional. */
	schema: z.ZodType<T>;
	/** What of a value that passed the schema does not fit the model's schedule. */
	problems?(value: T, where: { info: ModelInfo; scales: number }): string[];
}
/** Read off exact pictures. */
export interface Observed<T> extends Stored<T> {
	measure(seen: Seen): T;
}
/** Found by making pictures with each of several values. */
export interface Tried<T> extends Stored<T> {
	trial: Trial<T>;
}

export interface Trial<T> {
	/**
	 * What tells the pictures apart: how far each is from the exact one, or whether a judge finds in it what was asked
	 * for (then they are other pictures than those that an evaluation makes).
	 */
	by: "difference" | "judge";
	/** The exact plan changed to each value; none where there is nothing to try. */
	plans(exact: StagePlan, info: ModelInfo, seen: Seen): { value: number; plan: StagePlan }[];
	/** `scores`: by value, over all pictures: their difference to the exact ones, or how many were right. */
	best(values: readonly number[], scores: readonly number[]): T;
	/** Where nothing was tried. */
	untried(info: ModelInfo): T;
}

/** What calibrate saw of exact pictures of one schedule. */
export interface Seen extends Stages {
	/** By picture, then by scale. */
	pictures: readonly (readonly ScaleObservation[])[];
	/** Over all pictures, by scale. */
	means: readonly ScaleMeans[];
}

/** One scale of one exact picture. */
export interface ScaleObservation {
	/**
	 * Difference of the picture, if it ended here, to the finished one, coarse and middle: 1 is as much as there is to
	 * see.
	 */
	coarse: number;
	middle: number;
	/** Difference, at middle resolution, that dropping guidance from this scale on makes to the finished picture. */
	unguided: number;
	/** Share of the choices that a row alone makes as the guided pair does. */
	conditional: number;
	unconditional: number;
	/** Tokens that hold nearly all of the squared distance from their surroundings, as a share. */
	detail: number;
	/**
	 * By the scale whose picture is looked at: tokens that make nearly all of this scale's change, and what they hold of
	 * what there is to see.
	 */
	looks: { tokens: number; score: number }[];
	/** Share of the latent's energy that is lost when 2 x 2 tokens become their mean. */
	highFrequency: number;
	/**
	 * Directions that hold nearly all energy of a chunk's output, as a share of the tokens, by chunk; empty where ranks
	 * were not asked for.
	 */
	ranks: number[];
	/** Whether the judge finds in that picture what the prompt asks; null without a judge. */
	right: boolean | null;
}

export interface ScaleMeans extends Omit<ScaleObservation, "right"> {
	/** Share of the pictures judged as their finished one; null without a judge. */
	asJudged: number | null;
}

/** Of a scale's tokens. */
export const Share = z.number().gt(0).max(1);
/** Something by the index of a scale. */
export const ByScale = <T extends z.ZodType>(value: T) => z.record(z.string().regex(/^\d+$/), value);

/** The scale after the first one from which on all hold; the number of scales where none does. */
export const settledFrom = (means: readonly ScaleMeans[], holds: (scale: ScaleMeans) => boolean): number =>
	Math.min(means.length, means.findLastIndex((scale) => !holds(scale)) + 2);

/** Something of every scale of the fidelity stage, by scale. */
export const ofLateScales = <T>({ means, fidelityFrom }: Seen, of: (scale: ScaleMeans) => T): Record<string, T> =>
	Object.fromEntries([...means.entries()].slice(fidelityFrom).map(([scale, at]) => [scale, of(at)]));

/** A problem of a scale index that must not lie beyond the schedule; the number of scales itself means "never". */
export const beyond = (scale: number, scales: number): string[] =>
	scale > scales ? [`it is scale ${scale}, and there are ${scales}`] : [];

/** Problems of values by scale. */
export const unknownScales = (byScale: object, scales: number): string[] =>
	Object.keys(byScale).flatMap((scale) => (Number(scale) >= scales ? [`scale ${scale} is not below ${scales}`] : []));

const DIGITS = 1e4;
/** To four digits, and above nothing. */
export const rounded = (value: number): number => Math.max(1, Math.round(value * DIGITS)) / DIGITS;
