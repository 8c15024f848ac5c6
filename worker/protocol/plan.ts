/**
 * A stage plan: what the engine does at every scale of one picture, as plain data with every number resolved.
 *
 * Policies (`engine/plan/`) make plans, the engine executes them, the page draws them; nothing downstream of a policy
 * knows its name. A new acceleration extends these unions with the primitive it needs and costs one policy file.
 */
import { z } from "zod";

export const MAX_SCALES = 64;
export const MAX_BLOCKS = 256;

/** `sha256:<64 hex digits>` of a model's manifest. */
export const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hex digits");
export type Digest = z.infer<typeof Digest>;

/** StageVAR's three stages: early scales settle semantics, then structure; late ones only add fidelity. */
export const Stage = z.enum(["semantic", "structure", "fidelity"]);
export type Stage = z.infer<typeof Stage>;

/** Rotary positions of kept tokens: the first of the scale (StageVAR on Infinity), or those they are written back to (on STAR). */
export const KeptRope = z.enum(["first", "kept"]);

/** Runs a span of blocks on few tokens and restores the full length after it (StageVAR, arXiv 2512.16483). */
export const Reduction = z.strictObject({
	/** Blocks `from` (inclusive) to `to` (exclusive). */
	blocks: z.tuple([z.int().min(0).max(MAX_BLOCKS), z.int().min(1).max(MAX_BLOCKS)]),
	/** `span`: project once before the first block of the span, restore once after its last. */
	each: z.literal("span"),
	/** Tokens kept per row. */
	count: z.int().min(1),
	/** How the kept tokens are made: x' = Q^T x with Q ~ N(0, 1/count). */
	take: z.strictObject({ project: z.literal("gaussian") }),
	rope: KeptRope,
	/** Where kept outputs are written back: positions drawn without replacement, weight = squared norm of the span input. */
	write: z.literal("norm-sampled"),
	/** What fills the other positions: the same span's output at scale `from`, resized to this grid. */
	rest: z.strictObject({ from: z.int().min(0), resize: z.literal("area") }),
});
export type Reduction = z.infer<typeof Reduction>;

export const RunStep = z.strictObject({
	kind: z.literal("run"),
	stage: Stage,
	/** Guidance rows computed. May only narrow from step to step; StageVAR's text-free keeps the unconditional row. */
	rows: z.enum(["both", "cond", "uncond"]),
	/** w in u + w (c - u). Without effect unless rows is `both`. */
	guidance: z.number().min(0).max(100),
	/** Temperature that divides the logits. */
	tau: z.number().min(0.01).max(100),
	/** Most likely values kept before sampling; 0 keeps all, 1 is argmax. */
	topK: z.int().min(0),
	/** Nucleus mass; 0 keeps all. */
	topP: z.number().min(0).max(1),
	/** Disjoint spans that run on few tokens; empty = exact. */
	reduce: z.array(Reduction).max(MAX_BLOCKS),
});
export type RunStep = z.infer<typeof RunStep>;

/** Trailing scales only: the latent goes to the decoder as it is. */
export const SkipStep = z.strictObject({ kind: z.literal("skip") });
export const Step = z.discriminatedUnion("kind", [RunStep, SkipStep]);
export type Step = z.infer<typeof Step>;

export const StagePlan = z.strictObject({
	version: z.literal(1),
	policy: z.string().min(1).max(64),
	model: Digest,
	/** Name of one of the model's scale schedules, for example `1:1`. */
	schedule: z.string().min(1).max(64),
	/** One step per scale of the schedule. */
	steps: z.array(Step).min(1).max(MAX_SCALES),
});
export type StagePlan = z.infer<typeof StagePlan>;
