/** The body of POST /v1/images/generations: OpenAI's fields and ours, and what of them is done otherwise here. */
import { z } from "zod";
import type { Quality } from "../../policies/quality.ts";
import { MAX_IMAGES_PER_REQUEST, MAX_PARTIAL_IMAGES } from "../../protocol/limits.ts";
import { ApiError, invalid, invalidInput } from "../http/errors.ts";
import { Class, MaxMs, Name, Prompt, requireOneWay, requireSubject, Seed, whole } from "../http/input.ts";
import type { Warnings } from "../http/warnings.ts";

/** OpenAI's qualities, older and newer ones, in ours. */
const QUALITIES: Readonly<Record<string, Quality>> = {
	auto: "high",
	high: "high",
	hd: "high",
	xhigh: "high",
	max: "high",
	medium: "medium",
	standard: "medium",
	low: "low",
};
/** Fields of OpenAI's that could change nothing here. Who sends one may want to know. */
const WITHOUT_EFFECT = [
	"style",
	"complexity",
	"input_fidelity",
	"frame_count",
	"frame_duration_ms",
	"svg",
	"prompt_rewriter",
] as const;
const withoutEffect = z.unknown().optional().describe("Without effect: a warning header says so.");

export const Body = z.strictObject({
	prompt: Prompt.optional().describe("What the picture should show. Required, unless the model draws classes."),
	model: Name.optional().describe("A model's name or alias; OpenAI's image models stand for the default model."),
	n: whole(1, MAX_IMAGES_PER_REQUEST).default(1).describe("Pictures; the first has the request's seed."),
	size: z
		.string("must be auto or WIDTHxHEIGHT")
		.max(32, "must be auto or WIDTHxHEIGHT")
		.default("auto")
		.describe("auto or WIDTHxHEIGHT: made at the model's nearest aspect and resized."),
	quality: z
		.enum(Object.keys(QUALITIES), `must be ${Object.keys(QUALITIES).join(", ")}`)
		.default("auto")
		.describe("How much of the score may be given for speed, by what was measured of the model."),
	output_format: z.enum(["png", "webp", "jpeg"], "must be png, webp or jpeg").default("png"),
	output_compression: whole(0, 100).default(100).describe("Quality of webp and jpeg."),
	response_format: z
		.enum(["b64_json", "url"], "must be b64_json or url")
		.optional()
		.describe("url is an address that is good for an hour; the default of the dall-e models, else b64_json."),
	background: z.enum(["auto", "opaque", "transparent"], "must be auto, opaque or transparent").default("auto"),
	stream: z.boolean("must be true or false").default(false),
	partial_images: whole(0, MAX_PARTIAL_IMAGES).default(0).describe("Previews of the last scales, in a stream."),
	class: Class.optional().describe("Ours: the class to draw in place of a prompt."),
	seed: Seed.optional().describe("Ours: the same seed gives the same picture; -1 or none, a random one."),
	policy: Name.optional().describe("Ours: in place of a quality; auto as in the preview route."),
	max_ms: MaxMs.optional(),
	cache: z
		.boolean("must be true or false")
		.default(true)
		.describe("Ours: whether a finished picture of the same request may be given again."),
	plan: z.unknown().optional().describe("Ours: a plan, or its steps, in place of a policy."),
	user: z.string().max(1024).optional().describe("Without effect."),
	safety_identifier: z.string().max(1024).optional().describe("Without effect."),
	moderation: z.enum(["auto", "low"], "must be auto or low").optional().describe("Without effect."),
	...(Object.fromEntries(WITHOUT_EFFECT.map((field) => [field, withoutEffect])) as Record<
		(typeof WITHOUT_EFFECT)[number],
		typeof withoutEffect
	>),
});
export type Body = z.infer<typeof Body>;

/** The request with nulls as absent, which is how OpenAI's API takes them, and what cannot be made refused. */
export function parseBody(json: unknown, warnings: Warnings): Body {
	if (json === null || typeof json !== "object" || Array.isArray(json))
		throw new ApiError(400, "invalid_value", "The body must be a JSON object with at least a prompt.");
	const parsed = Body.safeParse(Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null)), {
		reportInput: true,
	});
	if (!parsed.success) throw invalidInput(parsed.error);
	const body = parsed.data;
	requireSubject(body);
	requireOneWay({ plan: body.plan, policy: body.policy });
	if (body.plan !== undefined && body.quality !== "auto")
		throw invalid(
			"quality",
			"quality: chooses a policy, and a plan stands in place of one; leave quality out, or use auto.",
		);
	if (body.stream && body.n > 1)
		throw invalid("n", "n: a stream carries one picture. Use n 1 with stream, or stream false.");
	warnOf(body, warnings);
	return body;
}

function warnOf(body: Body, warnings: Warnings): void {
	for (const field of WITHOUT_EFFECT)
		if (body[field] !== undefined) warnings.departs(field, `${field}: has no effect here`);
	if (body.background === "transparent")
		warnings.departs("background", "background: the models here paint no transparency, the picture is opaque");
	if (body.output_format === "png" && body.output_compression !== 100)
		warnings.departs("output_compression", "output_compression: PNG is lossless, it applies to webp and jpeg");
	if (!body.stream && body.partial_images > 0)
		warnings.departs("partial_images", "partial_images: are sent in a stream only, add stream true");
	if (body.stream && body.response_format === "url")
		warnings.departs("response_format", "response_format: a stream carries its pictures as b64_json");
}

/** What the request's quality is here. */
export const qualityOf = ({ quality }: Body): Quality => QUALITIES[quality];

/** Whether pictures are given as addresses: asked for, or the default of the models that the caller names. */
export const asUrl = ({ response_format, model = "" }: Body): boolean =>
	response_format === undefined ? model.startsWith("dall-e-") : response_format === "url";
