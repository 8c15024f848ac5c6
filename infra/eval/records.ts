/**
 * An evaluation as JSON lines: what was measured, line by line as it came, so that a run that was cut short goes on.
 */
import { appendFileSync, existsSync, readFileSync, statSync, truncateSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { z } from "zod";
import { Digest, StagePlan } from "../../worker/protocol/plan.ts";
import { currentPolicyName } from "../../worker/protocol/policy-names.ts";
import type { Prompt } from "./prompts.ts";

const MAX_BYTES = 2 ** 28;
const Text = z.string().min(1).max(400);
/** Files outlive names: a policy is known by the one it has now. */
const Policy = z.string().min(1).max(64).transform(currentPolicyName);
const Plan = StagePlan.transform((plan) => ({ ...plan, policy: currentPolicyName(plan.policy) }));
const Milliseconds = z.number().min(0);

/** What all lines of a file belong to. */
export const Head = z.strictObject({
	kind: z.literal("evaluation"),
	format: z.literal(1),
	model: Text,
	digest: Digest,
	schedule: Text,
	judge: z.string().regex(/^[0-9a-f]{64}$/),
	adapter: Text,
	numerics: Text,
});
export type Head = z.infer<typeof Head>;

/** Of a picture, computed from plan and model. */
export const Cost = z.strictObject({
	transformerFlops: z.number(),
	decoderFlops: z.number(),
	/** Tokens times guidance rows, over all scales, mean of the blocks. */
	tokenRows: z.number(),
	/** Cached keys and values at f32. */
	keyValueBytes: z.number(),
});
export type Cost = z.infer<typeof Cost>;
const PolicyLine = z.strictObject({ kind: z.literal("policy"), policy: Policy, plan: Plan, cost: Cost });
export type PolicyLine = z.infer<typeof PolicyLine>;

const PictureLine = z.strictObject({
	kind: z.literal("picture"),
	policy: Policy,
	/** Place in the list of prompts, and which of the prompt's pictures: together the seed. */
	prompt: z.int().min(0),
	category: Text,
	n: z.int().min(0),
	/** Of the plan as it was settled, where a part of it was left to be decided by the picture. */
	cost: Cost.optional(),
	right: z.boolean(),
	/** To the exact picture of the same seed: decibels, null where they are equal, and structural similarity. */
	psnr: z.number().nullable(),
	ssim: z.number(),
	/** By the second judge where it was asked: whether the objects that it can tell are there. */
	present: z.record(Text, z.boolean()).optional(),
	/** SHA-256 of the codes of all scales, shortened. */
	codes: z.string().regex(/^[0-9a-f]{16}$/),
});
export type PictureLine = z.infer<typeof PictureLine>;

/**
 * Milliseconds of a whole picture, of the exact one made just before it, and of the picture decoder, which is a part of
 * both.
 */
const TimingLine = z.strictObject({
	kind: z.literal("timing"),
	policy: Policy,
	round: z.int().min(0),
	exact: Milliseconds,
	own: Milliseconds,
	decode: Milliseconds,
});
export type TimingLine = z.infer<typeof TimingLine>;
/** Most bytes on the device while one picture was made. */
const MemoryLine = z.strictObject({ kind: z.literal("memory"), policy: Policy, bytes: z.int().min(0) });
/** Mean distance of the pairs among a prompt's pictures of different seeds. */
const DiversityLine = z.strictObject({
	kind: z.literal("diversity"),
	policy: Policy,
	prompt: z.int().min(0),
	distance: z.number().min(0),
});
const Line = z.discriminatedUnion("kind", [Head, PolicyLine, PictureLine, TimingLine, MemoryLine, DiversityLine]);
export type Line = z.infer<typeof Line>;
export type LineOf<K extends Line["kind"]> = Extract<Line, { kind: K }>;

/** A file that does not fit what is to be run. */
export class RecordsError extends Error {
	override name = "RecordsError";
}

export class Records {
	#path: string | undefined;
	#lines = new Map<string, Line>();

	private constructor(path: string | undefined) {
		this.#path = path;
	}

	/**
	 * Goes on with the file, or begins it; without a path everything stays in memory. Throws RecordsError for a file of
	 * another model, judge or numerics, and for lines that are none of ours; a last line that was cut off is dropped.
	 */
	static open(path: string | undefined, head: Head): Records {
		const records = new Records(path);
		const file = path && existsSync(path) ? readFile(path) : undefined;
		if (file?.packed) throw new RecordsError(`${path} is compressed. Unpack it (gunzip), or give another --out.`);
		for (const line of file?.lines ?? []) records.#keep(line);
		// Only now that all before it is known to be an evaluation's.
		if (path && file?.cut) truncateSync(path, file.bytes);
		const [held] = records.of("evaluation");
		if (!held) records.append(head);
		else {
			const different = (Object.keys(head) as (keyof Head)[]).filter((key) => head[key] !== held[key]);
			const changes = different.map((key) => `${held[key]}, now ${head[key]}`).join("; ");
			if (different.length > 0)
				throw new RecordsError(
					`${path} was measured with another ${different.join(", ")} (${changes}). ` +
						"Give another --out, or measure as it was.",
				);
		}
		return records;
	}

	/** A file to look at, as it is (compressed by gzip, too), or its pictures of some prompts alone. */
	static read(path: string, prompts?: readonly Prompt[]): Records {
		const records = new Records(undefined);
		const places = prompts && new Set(prompts.map(({ place }) => place));
		if (!existsSync(path)) throw new RecordsError(`There is no ${path}. Give a file that eval --out wrote.`);
		for (const line of readFile(path).lines)
			if (line.kind !== "picture" || (places?.has(line.prompt) ?? true)) records.#keep(line);
		if (records.of("evaluation").length === 0)
			throw new RecordsError(`${path} has no line that says what was evaluated. Give a file that eval --out wrote.`);
		return records;
	}

	/**
	 * Names a policy before its results. Throws RecordsError where the file has results of another plan under that name.
	 */
	policy(line: PolicyLine): void {
		const held = this.of("policy").find(({ policy }) => policy === line.policy);
		if (!held) this.append(line);
		else if (JSON.stringify(held.plan) !== JSON.stringify(Plan.parse(line.plan))) {
			throw new RecordsError(
				`${this.#path} holds results of another plan for ${line.policy}. ` +
					"Give another --out, or that plan another name (--plan NAME=FILE.json).",
			);
		}
	}

	get head(): Head {
		return this.of("evaluation")[0];
	}

	of<K extends Line["kind"]>(kind: K): LineOf<K>[] {
		return [...this.#lines.values()].filter((line): line is LineOf<K> => line.kind === kind);
	}

	find<K extends Line["kind"]>(kind: K, ...key: (string | number)[]): LineOf<K> | undefined {
		return this.#lines.get([kind, ...key].join(" ")) as LineOf<K> | undefined;
	}

	append(...lines: Line[]): void {
		if (this.#path) appendFileSync(this.#path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
		for (const line of lines) this.#keep(line);
	}

	#keep(line: Line): void {
		this.#lines.set(keyOf(line), line);
	}
}

function keyOf(line: Line): string {
	switch (line.kind) {
		case "evaluation":
			return line.kind;
		case "policy":
		case "memory":
			return `${line.kind} ${line.policy}`;
		case "picture":
			return `${line.kind} ${line.policy} ${line.prompt} ${line.n}`;
		case "timing":
			return `${line.kind} ${line.policy} ${line.round}`;
		case "diversity":
			return `${line.kind} ${line.policy} ${line.prompt}`;
	}
}

interface File {
	lines: Line[];
	/** Of the whole lines, and whether there is part of one after them. */
	bytes: number;
	cut: boolean;
	packed: boolean;
}

function readFile(path: string): File {
	const { size } = statSync(path);
	if (size > MAX_BYTES) throw new RecordsError(`${path} has ${size} bytes; at most ${MAX_BYTES} are read.`);
	const held = readFileSync(path);
	const packed = held[0] === 0x1f && held[1] === 0x8b;
	const all = packed ? unpacked(path, held) : held;
	const bytes = all.lastIndexOf("\n") + 1;
	if (bytes === 0 && all.length > 0)
		throw new RecordsError(
			`${path} has no whole line of an evaluation. Give a file that eval --out wrote, or a new one.`,
		);
	const lines = all.toString("utf8", 0, bytes).split("\n").slice(0, -1);
	return { lines: lines.map((line, i) => parsed(path, line, i + 1)), bytes, cut: bytes < all.length, packed };
}

function unpacked(path: string, held: Buffer): Buffer {
	try {
		return gunzipSync(held, { maxOutputLength: MAX_BYTES });
	} catch (error) {
		throw new RecordsError(`${path} cannot be unpacked: ${(error as Error).message}.`);
	}
}

function parsed(path: string, line: string, number: number): Line {
	try {
		return Line.parse(JSON.parse(line));
	} catch (error) {
		const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
		const hint = "Give a file that eval --out wrote, or a new one.";
		throw new RecordsError(`${path}, line ${number} is not of an evaluation: ${why}. ${hint}`);
	}
}
