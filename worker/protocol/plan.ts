/**
 * A stage plan: what the engine does at every scale of one picture, as plain data with every number resolved.
 *
 * Policies (`worker/policies/`) make plans, the engine executes them, the page draws them; nothing downstream of a
 * policy knows its name. A new acceleration extends these unions with the primitive it needs (a way to run blocks on
 * few tokens is a file in `reductions/`) and costs one policy file.
 */
import { z } from "zod";
import { type Gathering, kindOf, type Projection, Reduction } from "./reductions/index.ts";
import { MAX_BLOCKS } from "./reductions/kind.ts";

export { type Gathering, type Projection, Reduction };

export const MAX_SCALES = 64;

/** `sha256:<64 hex digits>` of a model's manifest. */
export const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hex digits");
export type Digest = z.infer<typeof Digest>;

/** StageVAR's three stages: early scales settle semantics, then structure; late ones only add fidelity. */
export const Stage = z.enum(["semantic", "structure", "fidelity"]);
export type Stage = z.infer<typeof Stage>;

const Temperature = z.number().min(0.01).max(100);

/**
 * Divides the logits: as given, or the one between the bounds at which the mean probability of the likeliest value
 * falls to `confidence`, measured on each picture's own logits (DiverseAR, arXiv 2512.02931).
 */
export const Tau = z.union([
	Temperature,
	z.strictObject({ confidence: z.number().gt(0).lt(1), between: z.tuple([Temperature, Temperature]) }),
]);
export type Tau = z.infer<typeof Tau>;

export const RunStep = z.strictObject({
	kind: z.literal("run"),
	stage: Stage,
	/** Guidance rows computed. May only narrow from step to step; StageVAR's text-free keeps the unconditional row. */
	rows: z.enum(["both", "cond", "uncond"]),
	/** w in u + w (c - u). Without effect unless rows is `both`. */
	guidance: z.number().min(0).max(100),
	/**
	 * Guidance of the conditional row by itself: w in u + w (c - u) of what every cross attention reads, c from the
	 * prompt and u from no prompt, for the same queries. Costs a few keys in place of a row. After normalised attention
	 * guidance (arXiv 2505.21179), without its normalisation, which small weights do not need. Absent: 1, no guidance.
	 */
	textGuidance: z.number().min(0).max(100).optional(),
	tau: Tau,
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

/** Scale after which the picture is looked at. */
const After = z.int().min(0).max(MAX_SCALES);
/**
 * The rest of the plan is that of the first case above the measured value, else the plan's own (SkipVAR, arXiv
 * 2506.08908).
 */
const CaseDecision = z.strictObject({
	after: After,
	/** Share of the latent's energy, at this scale's size, that is lost when 2 x 2 tokens become their mean. */
	measure: z.literal("high-frequency"),
	/** `steps`: of all scales after that one. */
	cases: z
		.array(z.strictObject({ below: z.number(), steps: z.array(Step).min(1).max(MAX_SCALES) }))
		.min(1)
		.max(8),
});
/**
 * Later steps that gather by this picture keep the measured share of their `count`, so that each picture has its own
 * ranks.
 */
const ShareDecision = z.strictObject({
	after: After,
	/** Share of the schedule's last tokens that hold `hold` of what there is to see. */
	measure: z.literal("picture"),
	hold: z.number().gt(0).max(1),
});
/**
 * Settles the rest of a plan once, by each picture itself. The outcome is logged as a revision of the plan and not
 * measured again.
 */
export const Decision = z.discriminatedUnion("measure", [CaseDecision, ShareDecision]);
export type Decision = z.infer<typeof Decision>;

export const StagePlan = z.strictObject({
	version: z.literal(1),
	policy: z.string().min(1).max(64),
	model: Digest,
	/** Name of one of the model's scale schedules, for example `1:1`. */
	schedule: z.string().min(1).max(64),
	/** One step per scale of the schedule. */
	steps: z.array(Step).min(1).max(MAX_SCALES),
	decide: Decision.optional(),
});
export type StagePlan = z.infer<typeof StagePlan>;

/** What a plan may turn out to be, at its most: itself, without the decision, then each of its cases. */
export function outcomesOf({ decide, ...plan }: StagePlan): StagePlan[] {
	if (decide?.measure !== "high-frequency") return [plan];
	return [
		plan,
		...decide.cases.map(({ steps }) => ({ ...plan, steps: [...plan.steps.slice(0, decide.after + 1), ...steps] })),
	];
}

/** The plan as settled by what was measured. */
export function settle(plan: StagePlan, measured: number): StagePlan {
	const outcomes = outcomesOf(plan);
	const { decide } = plan;
	if (decide?.measure !== "picture")
		return outcomes[(decide?.cases.findIndex(({ below }) => measured < below) ?? -1) + 1];
	const kept = (reduction: Reduction): Reduction =>
		looksAt(reduction) === decide.after
			? { ...reduction, count: Math.max(1, Math.ceil(Math.min(1, measured) * reduction.count)) }
			: reduction;
	return {
		...outcomes[0],
		steps: outcomes[0].steps.map((step) => (step.kind === "run" ? { ...step, reduce: step.reduce.map(kept) } : step)),
	};
}

/** Scale whose picture a reduction chooses by. */
export const looksAt = (reduction: Reduction): number | undefined => kindOf(reduction).looksAt(reduction);

/** Scales whose pictures a plan needs for its own sake, whatever it turns out to be. */
export function scalesLookedAt(plan: StagePlan): Set<number> {
	const gathered = outcomesOf(plan).flatMap(({ steps }) =>
		steps.flatMap((step) => (step.kind === "run" ? step.reduce.flatMap((reduction) => looksAt(reduction) ?? []) : [])),
	);
	return new Set([...gathered, ...(plan.decide?.measure === "picture" ? [plan.decide.after] : [])]);
}
