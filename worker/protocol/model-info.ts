/** What the edge, the page and the policies know of a model: its shape as data, never its weights. */
import { z } from "zod";
import { MAX_CLASSES } from "./limits.ts";
import { ModelName } from "./model-files.ts";
import { Digest, MAX_SCALES } from "./plan.ts";
import { KeptRope } from "./reductions/kind.ts";

const Side = z.int().min(1).max(16384);

export const Schedule = z.strictObject({
	/** [height, width] in tokens of every scale, smallest first. */
	grids: z
		.array(z.tuple([Side, Side]))
		.min(1)
		.max(MAX_SCALES),
	/** Finished picture in pixels. */
	image: z.strictObject({ height: Side, width: Side }),
});
export type Schedule = z.infer<typeof Schedule>;

/** Scale indices at which stages begin (plan.ts); as many as the schedule has scales means "never". */
export const Stages = z.strictObject({
	structureFrom: z.int().min(0).max(MAX_SCALES),
	fidelityFrom: z.int().min(0).max(MAX_SCALES),
});
export type Stages = z.infer<typeof Stages>;

/** What was measured of a schedule (`firstlight calibrate`). */
export const Calibration = z.strictObject({
	...Stages.shape,
	/**
	 * What policies need beside it, by name. An entry is read by the policies that need it (`worker/policies`), and is
	 * nobody else's business: one that no policy here knows is carried along as it is.
	 */
	measured: z.record(z.string().min(1).max(64), z.unknown()),
});
export type Calibration = z.infer<typeof Calibration>;

const Guidance = z.number().min(0).max(100);
export const Sampling = z.strictObject({
	/** w in u + w (c - u) at every scale; or from the first to the last scale, growing in equal steps. */
	guidance: z.union([Guidance, z.tuple([Guidance, Guidance])]),
	/** Last scales at which the guidance grows no further. Absent: none. */
	heldScales: z.int().min(1).max(MAX_SCALES).optional(),
	tau: z.number().min(0.01).max(100),
	/** At every scale; or [scale, topK] of the scales from which another one holds, in order, from 0 on. */
	topK: z.union([
		z.int().min(0),
		z
			.array(z.tuple([z.int().min(0).max(MAX_SCALES), z.int().min(0)]))
			.min(1)
			.max(MAX_SCALES),
	]),
	topP: z.number().min(0).max(1),
});

/** A policy against `exact` on the same prompts and seeds. */
export const Trade = z.strictObject({
	/** By the GenEval protocol, 0 to 1, and the difference to the score of `exact`. */
	score: z.number().min(0).max(1),
	delta: z.number().min(-1).max(1),
	/** Time of a picture under `exact` over that under the policy: of the whole, and of its transformer. */
	speedup: z.number().gt(0).max(1000),
	transformer: z.number().gt(0).max(1000).optional(),
	/** What it was timed on. */
	adapter: z.string().min(1).max(200).optional(),
	/** Lower bound of the difference's 95 % interval, and the prompts it was measured on. */
	lower: z.number().min(-1).max(1).optional(),
	prompts: z.int().min(1).optional(),
});
export type Trade = z.infer<typeof Trade>;

export const ModelInfo = z.strictObject({
	id: ModelName,
	digest: Digest,
	family: z.string().min(1).max(32),
	schedules: z.record(z.string().min(1).max(64), Schedule),
	defaultSchedule: z.string(),
	/** Transformer blocks, and the chunks StageVAR projects over: [from, to) block ranges that cover them in order. */
	blocks: z.int().min(1),
	chunks: z.array(z.tuple([z.int().min(0), z.int().min(1)])).min(1),
	/**
	 * How StageVAR keeps few tokens on this model: rotary positions of those kept, and the most tokens of a scale that a
	 * rank ratio counts. Absent: the first positions, and all tokens.
	 */
	lowRank: z.strictObject({ rope: KeptRope, mostTokens: z.int().min(1) }).optional(),
	/** Whether its plans may guide by the text alone. Absent: not. */
	guidesByText: z.boolean().optional(),
	/** Bits sampled per token. */
	bitsPerToken: z.int().min(1).max(1024),
	/** Prompt tokens the text side takes, end marker included; 0 where there is none. */
	maxPromptTokens: z.int().min(0),
	/**
	 * The parsed tokenizer.json, where it is small: with it the edge counts a prompt's tokens and knows its words.
	 */
	tokenizer: z.record(z.string(), z.unknown()).optional(),
	/** Of a model that draws classes, 0 to `classes` - 1, in place of text. */
	classes: z.int().min(1).max(MAX_CLASSES).optional(),
	sampling: Sampling,
	/** By schedule name. A schedule without one runs `exact` only. */
	calibration: z.record(z.string(), Calibration),
	/** What policies were measured to cost and gain, by policy name. */
	trades: z.record(z.string(), Trade).optional(),
});
export type ModelInfo = z.infer<typeof ModelInfo>;
