import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Option } from "@commander-js/extra-typings";
import { z } from "zod";
import { readPrompts } from "../eval/prompts.ts";
import type { Arrival, RateProfile } from "../load/arrivals.ts";
import { bursts, expected, steady } from "../load/arrivals.ts";
import { atRate, findCapacity } from "../load/capacity.ts";
import { compare, mismatches } from "../load/compare.ts";
import { type Goodput, parseGoodput } from "../load/goodput.ts";
import { LIMITS } from "../load/judge.ts";
import { Mix, Transport } from "../load/mix.ts";
import { type Model, type Plan, type Run, run } from "../load/run.ts";
import type { Target } from "../load/send.ts";
import { Summary, summaryOf } from "../load/summary.ts";
import { capacityText, compareText, liveText, summaryText } from "../load/texts.ts";
import { settleUsable } from "../load/usable.ts";
import { versionsOf } from "../load/watch.ts";
import { FILES, writeRun } from "../load/write.ts";
import { choice, count, given, jsonOption, positive, requireHeard } from "./options.ts";
import { outputFolder } from "./output.ts";
import type { Define } from "./program.ts";
import type { Terminal } from "./terminal.ts";
import { shown, UsageError } from "./usage.ts";
import { versionText } from "./version.ts";

/** Pictures are kept of about so many requests a run, to tell when they were usable. */
const KEPT = 100;

/** What says more of one of others. */
const BESIDE = {
	to: ["rate"],
	burst: ["rate"],
	arrivals: ["rate", "findCapacity"],
	burstiness: ["arrivals"],
	maxInFlight: ["rate", "findCapacity"],
	think: ["concurrency"],
};

/**
 * Requests to an edge as its readers would make them, and what became of every one. Exit code 1 when a stream had a
 * fault, or the figures cannot be believed. FIRSTLIGHT_KEY is the API key, where the edge wants one.
 */
export const define: Define = (command, terminal) =>
	command
		.argument("[url]", "the edge", address, "http://localhost:8787")
		.option("--rate <number>", "open model: requests a second, whatever comes back", positive("rate"))
		.option("--to <number>", "the rate goes in a straight line to this one", positive("to"))
		.option("--burst <rate:for:every>", "such as 20:2:10: 20 a second for 2 seconds in every 10", burstOf)
		.addOption(
			choice("arrivals", "when requests of an open model come", ["poisson", "constant", "gamma"]).default("poisson"),
		)
		.option(
			"--burstiness <number>",
			"of gamma: below 1 burstier than poisson, above more even",
			positive("burstiness"),
			1,
		)
		.option(
			"--max-in-flight <number>",
			"of an open model: more are skipped, and counted",
			count("max-in-flight", 1, 100_000),
			1024,
		)
		.option("--concurrency <number>", "closed model: so many readers in turn", count("concurrency", 1, 10_000))
		.option("--think <milliseconds>", "between two requests of such a reader", count("think", 0, 3_600_000), 0)
		.option("--find-capacity", "search the highest rate at which nine of ten are good")
		.option("--duration <seconds>", "of sending, after the warm-up", positive("duration"), 30)
		.option("--warmup <seconds>", "of sending that is kept apart", count("warmup", 0, 86_400), 3)
		.option("--mix <file>", "JSON: requests, readers and keys by their weights (docs/load.md)", given("mix"))
		.option("--model <model>", "the edge's name of it (default: the edge's first)", given("model"))
		.option("--policies <names>", "with commas between (default: the edge's choice)", given("policies"))
		.addOption(choice("transport", "how requests travel", Transport.options).default("client" as const))
		.option("--goodput <targets>", 'such as "first-preview:300 final:2000 gap:150"', goodputOf)
		.option("--usable <ssim>", "how like the picture a preview must be to be usable", ssimOf, 0.9)
		.option("--timeout <seconds>", "after which a request is given up", positive("timeout"), 120)
		.option("--silence <milliseconds>", "longer ones are a stall", count("silence", 1, 3_600_000), LIMITS.silenceMs)
		.option("--late <milliseconds>", "later scales are late", count("late", 1, 3_600_000), LIMITS.lateMs)
		.option("--seed <number>", "the same requests at the same times", count("seed", 0, 0xffff_ffff), 1)
		.option("--out <folder>", `${Object.values(FILES).join(", ")}`, given("out"))
		.addOption(new Option("--compare <files...>", "two summary.json, side by side; nothing is sent"))
		.addOption(jsonOption())
		.action(async (url, options) => {
			requireHeard(command, { alone: { compare: [] }, beside: BESIDE });
			if (options.compare) return await compareFiles(options.compare, terminal);
			const models = [options.rate, options.concurrency, options.findCapacity].filter((each) => each !== undefined);
			if (models.length !== 1) throw new UsageError("Give one of --rate, --concurrency and --find-capacity.");
			if (command.getOptionValueSource("burstiness") === "cli" && options.arrivals !== "gamma")
				throw new UsageError("--burstiness is of gamma: give --arrivals gamma beside it.");
			if (options.to !== undefined && options.burst) throw new UsageError("Give --to or --burst, not both.");
			if (options.findCapacity && !options.goodput)
				throw new UsageError("--find-capacity needs to know what is good.", 'Give such as --goodput "final:2000".');
			const ofMix = ["model", "policies", "transport"].filter((name) => command.getOptionValueSource(name) === "cli");
			if (options.mix !== undefined && ofMix.length > 0)
				throw new UsageError(
					`${ofMix.map((name) => `--${name}`).join(" and ")} would be the mix's: leave it out beside --mix.`,
				);
			const folder = options.out === undefined ? undefined : await outputFolder("--out", options.out);
			const mix = options.mix === undefined ? mixOf(options) : await readMix(options.mix);
			const seconds = options.warmup + options.duration;
			const limits = { silenceMs: options.silence, lateMs: options.late };
			const timeoutMs = options.timeout * 1000;
			const prompts = (await readPrompts()).map(({ prompt }) => prompt);
			const planOf = (model: Model): Plan => ({
				model,
				seconds,
				warmupSeconds: options.warmup,
				seed: options.seed,
				mix,
				prompts,
				limits,
				keepShare: keepShareOf(model, seconds, options.goodput),
			});
			const target: Target = { url, keys: keysOf(mix, process.env), timeoutMs };
			const versions = await versionsOf(target, terminal.signal);
			const judged = { usable: options.usable, ...limits, timeoutMs };
			const about = { url, goodput: options.goodput ?? null, judged, versions, version: versionText() };
			const measure = async (model: Model): Promise<{ made: Run; summary: Summary }> => {
				const made = await watched(planOf(model), target, terminal);
				// Interrupted, it says what it has, within the moment that is left to it.
				if (!made.interrupted) await settleUsable(made.samples, options.usable, terminal.signal);
				const known = { ...made, interrupted: terminal.signal.aborted };
				return { made: known, summary: summaryOf(known, about) };
			};
			const model = modelOf(options, seconds);
			if (options.findCapacity) {
				const search = { share: 0.9, from: 1, most: 10_000, precision: 0.1 };
				let holding: { made: Run; summary: Summary } | undefined;
				const capacity = await findCapacity(search, async (rate) => {
					terminal.say(`${rate.toFixed(2)} a second`);
					const probe = await measure(atRate(model, rate, seconds));
					if (probe.made.interrupted) return null;
					const { valid, reasons, rates, counts } = probe.summary;
					const attainment = rates.attainment ?? 0;
					const holds = attainment >= search.share;
					if (holds) holding = probe;
					// What asks for more than there is may find it stalled; what holds may not.
					const faults = holds && counts.faulty > 0 ? `${counts.faulty} streams had faults.` : null;
					return { attainment, doubt: valid ? faults : reasons.join(" ") };
				});
				terminal.print(capacityText(capacity));
				terminal.result({ capacity });
				if (folder !== undefined && holding) {
					await writeRun(folder, holding.made, holding.summary);
					terminal.say(`The run at the rate that it holds is in ${join(folder, FILES.page)}`);
				}
				if (terminal.signal.aborted) return;
				if (capacity.rate === 0 || capacity.probes.some(({ doubt }) => doubt !== null)) process.exitCode = 1;
				return;
			}
			const { made, summary } = await measure(model);
			// Printed first: an interrupt may leave no time for all files.
			terminal.print(summaryText(summary));
			if (folder !== undefined) await writeRun(folder, made, summary);
			if (folder !== undefined) terminal.say(`Written to ${join(folder, FILES.page)}`);
			terminal.result(summary);
			if (!made.interrupted && (!summary.valid || summary.counts.faulty > 0)) process.exitCode = 1;
		});

/** Of the requests whose pictures are kept to be decoded: all, where what is usable is a target of each. */
function keepShareOf(model: Model, seconds: number, goodput: Goodput | undefined): number {
	if (goodput?.usable !== undefined) return 1;
	// A reader in turn gets about a picture a second.
	const requests = model.kind === "open" ? expected(model.profile) : model.readers * seconds;
	return Math.min(1, KEPT / Math.max(1, requests));
}

interface Asked {
	rate?: number;
	to?: number;
	burst?: { burst: number; lasting: number; every: number };
	arrivals: Arrival["process"];
	burstiness: number;
	maxInFlight: number;
	concurrency?: number;
	think: number;
}

function modelOf(
	{ rate = 1, to, burst, arrivals, burstiness, maxInFlight, concurrency, think }: Asked,
	seconds: number,
): Model {
	if (concurrency !== undefined) return { kind: "closed", readers: concurrency, thinkMs: think };
	const profile: RateProfile = burst
		? bursts(rate, seconds, burst)
		: to === undefined
			? steady(rate, seconds)
			: [
					{ seconds: 0, rate },
					{ seconds, rate: to },
				];
	const arrival: Arrival = arrivals === "gamma" ? { process: "gamma", burstiness } : { process: arrivals };
	return { kind: "open", profile, arrival, maxInFlight };
}

function mixOf({ model, policies, transport }: { model?: string; policies?: string; transport: Transport }): Mix {
	return Mix.parse({
		requests: [{ transport, models: model, policies: policies?.split(",").map((name) => name.trim()) }],
	});
}

async function readMix(path: string): Promise<Mix> {
	let json: unknown;
	try {
		json = JSON.parse(await readFile(path, "utf8"));
	} catch (error) {
		if (error instanceof SyntaxError) throw new UsageError(`${path} is not valid JSON: ${error.message}.`);
		throw error;
	}
	const mix = Mix.safeParse(json);
	if (mix.success) return mix.data;
	throw new UsageError(
		`${path} is no mix: ${z.prettifyError(mix.error).replaceAll("\n", " ")}`,
		"docs/load.md has one to start from.",
	);
}

function keysOf({ keys }: Mix, env: NodeJS.ProcessEnv): Record<string, string> {
	const found: Record<string, string> = {};
	if (env.FIRSTLIGHT_KEY) found[""] = env.FIRSTLIGHT_KEY;
	for (const [name, variable] of Object.entries(keys)) {
		const value = env[variable];
		if (!value) throw new UsageError(`The mix's key ${name} is in ${variable}, which is not set.`);
		found[name] = value;
	}
	return found;
}

async function watched(plan: Plan, target: Target, terminal: Terminal): Promise<Run> {
	using bar = terminal.progress("{bar} {value}/{total} s  {now}");
	bar.start(Math.ceil(plan.seconds), { now: "" });
	return await run(plan, target, terminal.signal, (live) => {
		if (terminal.signal.aborted) return;
		bar.update(Math.min(Math.round(live.seconds), Math.ceil(plan.seconds)), { now: liveText(live) });
	});
}

async function compareFiles(paths: readonly string[], terminal: Terminal): Promise<void> {
	if (paths.length !== 2) throw new UsageError(`--compare takes two summary.json, not ${paths.length}.`);
	const [a, b] = await Promise.all(paths.map(readSummary));
	const [doubts, differences] = [mismatches(a, b), compare(a, b)];
	terminal.print(compareText(doubts, differences));
	terminal.result({ doubts, differences });
}

async function readSummary(path: string): Promise<Summary> {
	const text = await readFile(path, "utf8");
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch {
		json = null;
	}
	const summary = Summary.safeParse(json);
	if (summary.success) return summary.data;
	throw new UsageError(
		`${shown(path)} is no summary of firstlight load.`,
		"Give the summary.json of two runs with --out.",
	);
}

function address(text: string): string {
	if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
	throw new UsageError(
		`The edge's address must be http or https, not ${shown(text)}.`,
		"Give such as http://localhost:8787.",
	);
}

function burstOf(text: string): { burst: number; lasting: number; every: number } {
	const [burst, lasting, every, ...more] = text.split(":").map(Number);
	if (more.length > 0 || !(burst > 0 && lasting > 0 && every > lasting && every < Infinity))
		throw new UsageError(`--burst is RATE:FOR:EVERY in seconds, such as 20:2:10, not ${shown(text)}.`);
	return { burst, lasting, every };
}

function goodputOf(text: string): Goodput {
	try {
		return parseGoodput(text);
	} catch (error) {
		throw new UsageError(`--goodput: ${(error as Error).message}`);
	}
}

function ssimOf(text: string): number {
	const value = Number(text);
	if (text.trim() !== "" && value > 0 && value <= 1) return value;
	throw new UsageError(`--usable is an SSIM above 0 and up to 1, not ${shown(text)}.`);
}
