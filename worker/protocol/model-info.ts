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

const ByScale = <T extends z.ZodType>(value: T) => z.record(z.string().regex(/^\d+$/), value);
const Share = z.number().gt(0).max(1);

/**
 * Where the stages of a schedule begin and how many tokens its late scales need, as measured (`firstlight calibrate`).
 * Indices are scale indices; a bound equal to the number of scales means "never". Ratios are shares of a scale's
 * tokens, by scale.
 */
export const Calibration = z.strictObject({
	structureFrom: z.int().min(0).max(MAX_SCALES),
	fidelityFrom: z.int().min(0).max(MAX_SCALES),
	skipFrom: z.int().min(1).max(MAX_SCALES),
	/** Scale from which dropping guidance makes no difference to speak of. */
	guidanceTo: z.int().min(0).max(MAX_SCALES),
	/** Text guidance that replaces guidance best from there on; absent where the model has none or it does not help. */
	textGuidance: z.number().min(1).max(100).optional(),
	/**
	 * Temperature of the scales before the fidelity stage at which pictures show most of what was asked, by a judge; else
	 * the model's own.
	 */
	earlyTau: z.number().min(0.01).max(100),
	/** Rank of a chunk's output that holds most of its energy, by chunk. */
	rankRatio: ByScale(z.array(Share)),
	/** Tokens that hold most of the squared distance from their surroundings. */
	detailRatio: ByScale(Share),
	/**
	 * Scales from `from` on change the picture where tokens stand that hold `hold` of what there is to see after scale
	 * `after`.
	 */
	look: z.strictObject({ after: z.int().min(0).max(MAX_SCALES), from: z.int().min(1).max(MAX_SCALES), hold: Share }),
	/**
	 * High-frequency shares of the latent before the fidelity stage that a third, and two thirds, of the pictures stay
	 * below.
	 */
	detail: z.tuple([z.number().min(0), z.number().min(0)]),
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
	/** Time of a picture under `exact` over that under the policy. */
	speedup: z.number().gt(0).max(1000),
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
	/** Of a model that draws classes, 0 to `classes` - 1, in place of text. */
	classes: z.int().min(1).max(MAX_CLASSES).optional(),
	sampling: Sampling,
	/** By schedule name. A schedule without one runs `exact` only. */
	calibration: z.record(z.string(), Calibration),
	/** What policies were measured to cost and gain, by policy name. */
	trades: z.record(z.string(), Trade).optional(),
});
export type ModelInfo = z.infer<typeof ModelInfo>;
