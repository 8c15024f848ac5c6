/** A picture being made: what was asked for (JobRequest) and what has happened so far (the event log). */
import { z } from "zod";
import {
	MAX_CLASSES,
	MAX_CODES_CHARS,
	MAX_IMAGE_CHARS,
	MAX_PICTURE_SIDE,
	MAX_PROMPT_CHARS,
	MAX_SEED,
} from "./limits.ts";
import { Digest, MAX_SCALES, Stage, StagePlan } from "./plan.ts";
import type * as trunk from "./trunk.ts";

export const Seed = z.int().min(0).max(MAX_SEED);

/** `all` = every executed scale, `none`, or k = the last k scales before the final picture. */
export const Previews = z.union([z.literal("all"), z.literal("none"), z.int().min(0).max(64)]);
export type Previews = z.infer<typeof Previews>;

const Side = z.int().min(1).max(MAX_PICTURE_SIDE);

export const ImageFormat = z.strictObject({
	type: z.enum(["png", "webp", "jpeg"]),
	/** Encoder quality of the lossy formats, 1 to 100. */
	quality: z.int().min(1).max(100),
	/** The finished picture is resized to this; absent: as the model makes it. Previews keep their own sizes. */
	size: z.strictObject({ width: Side, height: Side }).optional(),
});
export type ImageFormat = z.infer<typeof ImageFormat>;

const ScaleIndex = z
	.int()
	.min(0)
	.max(MAX_SCALES - 1);
export type Trunk = trunk.Trunk<number>;
const Trunk: z.ZodType<Trunk> = z
	.strictObject({
		seed: Seed,
		scales: z.int().min(1).max(MAX_SCALES),
		get before() {
			return Trunk.optional();
		},
	})
	.refine(({ scales, before }) => !before || before.scales < scales, "before: has to be fewer scales");

/** Everything a worker needs to make the picture. */
export const JobRequest = z
	.object({
		model: z.string().min(1).max(64),
		/** One of the two, by what the model draws. */
		prompt: z
			.string()
			.min(1)
			.max(2 * MAX_PROMPT_CHARS)
			.optional(),
		label: z
			.int()
			.min(0)
			.max(MAX_CLASSES - 1)
			.optional(),
		seed: Seed,
		plan: StagePlan,
		previews: Previews,
		format: ImageFormat,
		/** The last scale to run: the picture is what there is after it, at that scale's size. Absent: all of the plan. */
		until: ScaleIndex.optional(),
		/** Where the first scales are those of another picture: whose. The seed draws what comes after. */
		trunk: Trunk.optional(),
	})
	.refine(({ prompt, label }) => (prompt === undefined) !== (label === undefined), "needs a prompt or a label");
export type JobRequest = z.infer<typeof JobRequest>;

/**
 * Sampled bits of one scale, packed eight to a byte (token-major, bit 0 of a token first, least significant bit first),
 * base64.
 */
export const PackedCodes = z.base64().max(MAX_CODES_CHARS);

const Mime = z.enum(["image/png", "image/webp", "image/jpeg"]);
const Picture = z.base64().max(MAX_IMAGE_CHARS);

export const PlanEvent = z.object({
	type: z.literal("plan"),
	job: z.string(),
	model: z.string(),
	policy: z.string(),
	seed: Seed,
	width: z.int(),
	height: z.int(),
	plan: StagePlan,
	/** Token grid of every scale of the plan's schedule. */
	grids: z.array(z.tuple([z.int(), z.int()])),
	/** Words of the prompt that the model's vocabulary lacks, as written. Absent where the edge does not know it. */
	unknownWords: z.array(z.string()).max(MAX_PROMPT_CHARS).optional(),
	/** Why this policy: `request` where it was named, else what chose it, such as `load`. */
	reason: z.string().max(64).optional(),
	/** Whether the picture was there already, of the same request before. */
	cached: z.boolean().optional(),
});
export const ScaleEvent = z.object({
	type: z.literal("scale"),
	/** Scale index in the schedule. */
	index: z.int().min(0),
	grid: z.tuple([z.int(), z.int()]),
	stage: Stage,
	/** Executed scales so far, this one included, and how many there will be. */
	step: z.int().min(1),
	steps: z.int().min(1),
	/** Time this scale took on the worker. */
	milliseconds: z.number().min(0),
	codes: PackedCodes,
	mime: Mime.nullable(),
	/** The encoded preview; null where the request asked for none at this scale. */
	base64: Picture.nullable(),
});
/** The rest of a plan that left it open, settled after the scale `after` by what was measured there. */
export const RevisionEvent = z.object({
	type: z.literal("revision"),
	after: z.int().min(0),
	measured: z.number(),
	plan: StagePlan,
});
export const FinalEvent = z.object({
	type: z.literal("final"),
	seed: Seed,
	width: z.int(),
	height: z.int(),
	/** From lease to finished picture on the worker. */
	milliseconds: z.number().min(0),
	mime: Mime,
	base64: Picture,
	/** Hex SHA-256 of the encoded picture's bytes. */
	sha256: z.string().regex(/^[0-9a-f]{64}$/),
	digest: Digest,
	/** Numerics id of all its scales, or `mixed` where they were not all made under one. */
	numerics: z.string().max(128),
	adapter: z.string().max(200),
});
export const ErrorEvent = z.object({
	type: z.literal("error"),
	code: z.string().regex(/^[a-z0-9_]{1,64}$/),
	message: z.string().max(2000),
});
/** What a worker may append to a job's log. */
export const WorkerEvent = z.discriminatedUnion("type", [ScaleEvent, RevisionEvent, FinalEvent, ErrorEvent]);
export type WorkerEvent = z.infer<typeof WorkerEvent>;
export const JobEvent = z.discriminatedUnion("type", [PlanEvent, ScaleEvent, RevisionEvent, FinalEvent, ErrorEvent]);
export type JobEvent = z.infer<typeof JobEvent>;
export type PlanEvent = z.infer<typeof PlanEvent>;
export type ScaleEvent = z.infer<typeof ScaleEvent>;
export type RevisionEvent = z.infer<typeof RevisionEvent>;
export type FinalEvent = z.infer<typeof FinalEvent>;
export type ErrorEvent = z.infer<typeof ErrorEvent>;
