/** Options that several commands take, and the parsers that check a value at the rim. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Option } from "@commander-js/extra-typings";
import type { Limits } from "../../kernels/gpu/request.ts";
import { MANIFEST_FILE } from "../../model-shards/format/manifest.ts";
import { bundledModels, DEFAULT_MODEL, findModel, isUrl } from "../../model-shards/open.ts";
import { findPolicy, type Policy, policies } from "../../worker/policies/index.ts";
import { parseBytes } from "../../worker/protocol/bytes.ts";
import { didYouMean, oneOf, UsageError, whole } from "./usage.ts";

export const modelOption = () =>
	otherModelOption("a bundled model's name, a model folder or its URL").default(DEFAULT_MODEL);

/** Where no model is not the default one. */
export const otherModelOption = (about: string) => new Option("--model <model>", about).argParser(modelName);

/** One of some words. */
export const choice = <Name extends string, T extends string>(option: Name, about: string, choices: readonly T[]) =>
	new Option(`--${option} <${option}>` as const, about)
		.choices(choices)
		.argParser((text: string) => oneOf(option, text, choices));

export const scheduleOption = () =>
	new Option("--schedule <name>", "one of the model's schedules, such as 1:1 (default: the model's)").argParser(
		given("schedule"),
	);

export const policyOption = () =>
	new Option("--policy <name>", "what is left out of late scales, and how (default: exact)").argParser(policyNamed);

export const policiesOption = () =>
	new Option("--policies <names>", "policies by name, with commas between").argParser((text: string) =>
		text.split(",").map((name) => policyNamed(name.trim())),
	);

export const jsonOption = () => new Option("--json", "print the result as one JSON document");

/** Limits below the adapter's. */
export const limitsOption = () =>
	new Option(
		"--limits <limits>",
		"below the adapter's, such as binding=1MiB,workgroup=16KiB,buffers=8 (also: buffer)",
	).argParser(limits);

const LIMITS = ["binding", "buffer", "workgroup", "buffers"] as const;

function limits(text: string): Limits {
	return Object.fromEntries(
		text.split(",").map((each) => {
			const [name, value = ""] = each.split("=");
			const limit = oneOf("limits", name.trim(), LIMITS);
			return [limit, limit === "buffers" ? whole("limits buffers", value, 4, 1024) : bytes("limits", value)];
		}),
	);
}

/** Bytes, as 64KiB, 1.5GiB or plain ones. */
export function bytes(option: string, text: string): number {
	const value = parseBytes(text);
	if (value !== undefined) return value;
	throw new UsageError(`--${option} must be bytes, such as 64KiB or 1.5GiB, not ${text.trim() || "empty"}.`);
}

/** A value that is there: neither empty nor the next option, which a forgotten value would swallow. */
export const given =
	(option: string) =>
	(text: string): string => {
		if (text.trim() === "" || /^--\w/.test(text))
			throw new UsageError(`--${option} needs a value; it got ${text.trim() === "" ? "an empty one" : text}.`);
		return text;
	};

/** A whole number. */
export const count = (option: string, low: number, high: number) => (text: string) => whole(option, text, low, high);

/** Such whole numbers, with commas between. */
export const counts = (option: string, low: number, high: number) => (text: string) =>
	text.split(",").map((each) => whole(option, each.trim(), low, high));

/**
 * Throws UsageError for an option that would be taken and say nothing. `alone`: what works by itself, with the options
 * that it heeds, the first that was given counting. `beside`: by what an option says something, one of which it needs.
 */
export function requireHeard(
	command: Asked,
	{ alone = {}, beside = {} }: Partial<Record<"alone" | "beside", Readonly<Record<string, readonly string[]>>>>,
): void {
	const given = givenOptions(command);
	const mode = Object.keys(alone).find((name) => given.includes(name));
	const unheard = mode === undefined ? [] : given.filter((name) => name !== mode && !alone[mode].includes(name));
	if (unheard.length > 0)
		throw new UsageError(`${flags(unheard, "and")} would say nothing beside --${mode}: leave it out.`);
	for (const [name, others] of Object.entries(beside))
		if (given.includes(name) && !others.some((other) => given.includes(other)))
			throw new UsageError(`${flags([name], "")} says nothing by itself: give ${flags(others, "or")} beside it.`);
}

interface Asked {
	options: readonly Pick<Option, "attributeName">[];
	getOptionValueSource(name: string): unknown;
}

/** Names of the options that were given, but for `--json`, which every command heeds. */
export const givenOptions = (command: Asked): string[] =>
	command.options
		.map((option) => option.attributeName())
		.filter((name) => name !== "json" && command.getOptionValueSource(name) === "cli");

/** `maxSeconds` is `--max-seconds`. */
export const flags = (names: readonly string[], word: string): string =>
	names.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`).join(` ${word} `);

/** A number above zero. */
export const positive =
	(option: string) =>
	(text: string): number => {
		const value = text.trim() === "" ? Number.NaN : Number(text);
		if (value > 0 && value < Infinity) return value;
		throw new UsageError(`--${option} must be a number above 0, not ${text.trim() || "empty"}.`);
	};

/** Of names: all, where nothing is given. */
export const patternOption = <Name extends string>(option: Name, about: string) =>
	new Option(`--${option} <regexp>` as const, about).default(/(?:)/, "all").argParser((text: string) => {
		try {
			return new RegExp(text);
		} catch (error) {
			throw new UsageError(`--${option} ${text} is no regular expression: ${(error as Error).message}.`);
		}
	});

/** A file whose name ends in one of `endings`. */
export const fileNamed =
	(option: string, ...endings: string[]) =>
	(text: string): string => {
		if (endings.some((ending) => given(option)(text).toLowerCase().endsWith(ending))) return text;
		throw new UsageError(`--${option} must end in ${endings.join(", ")}, not as ${text} does.`);
	};

/** A model that is there, or a URL, which is not asked yet. */
export function modelName(text: string): string {
	const bundled = bundledModels();
	if (isUrl(text) || bundled.includes(text) || (text !== "" && existsSync(join(text, MANIFEST_FILE)))) return text;
	try {
		return findModel(text);
	} catch (error) {
		throw new UsageError((error as Error).message, didYouMean(text, bundled));
	}
}

export function policyNamed(name: string): Policy {
	const policy = findPolicy(name);
	if (policy) return policy;
	const names = Object.keys(policies);
	throw new UsageError(`There is no policy ${name}. There are: ${names.join(", ")}.`, didYouMean(name, names));
}
