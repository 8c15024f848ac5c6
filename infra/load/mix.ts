/** What is asked for, and by what kind of reader: a file of weights, drawn from with a seed. */
import { z } from "zod";
import { fitsPrompt, MAX_CLASSES, MAX_PROMPT_CHARS, MAX_SEED } from "../../worker/protocol/limits.ts";
import { one, type Random, randomOf, weighted } from "./random.ts";

const Weight = z.number().gt(0).max(1e6).default(1);
const Milliseconds = z.number().min(0).max(3_600_000);
/** A value, or the bounds of a uniform draw. */
const Range = z.union([Milliseconds, z.tuple([Milliseconds, Milliseconds])]);
const Name = z.string().min(1).max(64);
const Prompt = z.string().min(1).refine(fitsPrompt, `is longer than ${MAX_PROMPT_CHARS} characters`);
const oneOrMany = <T extends z.ZodType>(type: T) =>
	z
		.union([type, z.array(type).min(1).max(10_000)])
		.transform((value): z.output<T>[] => (Array.isArray(value) ? value : [value]));

/** How a request travels: the typed client, the same route by bare HTTP, or OpenAI's route by bare HTTP. */
export const Transport = z.enum(["client", "raw", "openai"]);
export type Transport = z.infer<typeof Transport>;

const Question = z.strictObject({
	weight: Weight,
	transport: Transport.default("client"),
	/** Left out: the mix's own. */
	prompts: oneOrMany(Prompt).optional(),
	/** Of a model that draws classes, in place of prompts. */
	classes: oneOrMany(
		z
			.int()
			.min(0)
			.max(MAX_CLASSES - 1),
	).optional(),
	models: oneOrMany(Name).optional(),
	policies: oneOrMany(Name).optional(),
	/** Left out: a new one each time. */
	seeds: oneOrMany(z.int().min(0).max(MAX_SEED)).optional(),
	format: z.enum(["png", "webp", "jpeg"]).default("webp"),
	/** Names of keys. */
	keys: oneOrMany(Name).optional(),
});

/** What readers do, the good ones first. */
export const Reader = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("steady"), weight: Weight }),
	/** Takes so many bytes a second. */
	z.strictObject({ kind: z.literal("slow"), weight: Weight, bytesPerSecond: z.number().min(100).max(1e9) }),
	/** Breaks its connection after so many events, comes back after a pause with the last id, so many times. */
	z.strictObject({
		kind: z.literal("reconnect"),
		weight: Weight,
		afterEvents: z.int().min(1).max(1000).default(2),
		times: z.int().min(1).max(100).default(1),
		pauseMs: Range.default(0),
	}),
	/** Closes its connection. */
	z.strictObject({ kind: z.literal("cancel"), weight: Weight, afterMs: Range }),
	/** Stops reading without a word, and lets the connection hang for so long. */
	z.strictObject({ kind: z.literal("vanish"), weight: Weight, afterMs: Range, hangMs: Milliseconds.default(10_000) }),
]);
export type Reader = z.infer<typeof Reader>;

export const Mix = z.strictObject({
	prompts: z.array(Prompt).min(1).max(100_000).optional(),
	requests: z
		.array(Question)
		.min(1)
		.max(1000)
		.default([Question.parse({})]),
	readers: z
		.array(Reader)
		.min(1)
		.max(100)
		.default([{ kind: "steady", weight: 1 }]),
	/** By name: the variable of the environment that holds the key. A file with keys in it would be passed around. */
	keys: z
		.record(Name, z.string().regex(/^[A-Z_][A-Z0-9_]*$/, "must be the name of a variable, such as LOAD_KEY"))
		.default({}),
});
export type Mix = z.infer<typeof Mix>;

/** One request as it will be made. */
export interface Asked {
	/** Its number in the run. */
	index: number;
	transport: Transport;
	prompt?: string;
	class?: number;
	model?: string;
	policy?: string;
	seed: number;
	format: "png" | "webp" | "jpeg";
	/** A key's name. */
	key?: string;
	reader: ReaderNow;
}
/** A reader whose draws are made. */
export type ReaderNow =
	| { kind: "steady" }
	| { kind: "slow"; bytesPerSecond: number }
	| { kind: "reconnect"; afterEvents: number; times: number; pauseMs: number }
	| { kind: "cancel"; afterMs: number }
	| { kind: "vanish"; afterMs: number; hangMs: number };

/** The request of a number: the same for the same seed, whatever came before it. */
export function drawn(mix: Mix, index: number, seed: number, prompts: readonly string[]): Asked {
	const random = randomOf(seed, `request ${index}`);
	const question = weighted(random, mix.requests);
	const drawn = readerOf(random, weighted(random, mix.readers));
	// OpenAI's stream has no ids to come back with.
	const reader: ReaderNow = question.transport === "openai" && drawn.kind === "reconnect" ? { kind: "steady" } : drawn;
	const pick = <T>(of: readonly T[] | undefined): T | undefined => of && one(random, of);
	const label = pick(question.classes);
	return {
		index,
		transport: question.transport,
		...(label === undefined ? { prompt: one(random, question.prompts ?? mix.prompts ?? prompts) } : { class: label }),
		model: pick(question.models),
		policy: pick(question.policies),
		seed: pick(question.seeds) ?? Math.floor(random() * (MAX_SEED + 1)),
		format: question.format,
		key: pick(question.keys),
		reader,
	};
}

function readerOf(random: Random, reader: Reader): ReaderNow {
	const draw = (range: z.infer<typeof Range>) =>
		typeof range === "number" ? range : range[0] + random() * (range[1] - range[0]);
	const { weight: _, ...rest } = reader;
	if (rest.kind === "reconnect") return { ...rest, pauseMs: draw(rest.pauseMs) };
	if (rest.kind === "cancel" || rest.kind === "vanish") return { ...rest, afterMs: draw(rest.afterMs) };
	return rest;
}
