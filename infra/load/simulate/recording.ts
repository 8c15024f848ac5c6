/** A load run as the simulation takes it: when its requests came, and how long workers took for their scales. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { ModelInfo } from "../../../worker/protocol/model-info.ts";
import type { StagePlan } from "../../../worker/protocol/plan.ts";
import { UsageError } from "../../cli/usage.ts";
import { distributionOf } from "../distribution.ts";
import { one } from "../random.ts";
import { Summary } from "../summary.ts";
import { FILES } from "../write.ts";
import type { Asked, Service } from "./simulate.ts";

/** What of a line of requests.jsonl is needed; `recordOf` in records.ts writes them. */
const Line = z.object({
	metadata: z.object({
		request_intended_ns: z.number(),
		in_flight: z.int(),
		benchmark_phase: z.string(),
		model: z.string().nullable(),
		policy: z.string().nullable(),
		outcome: z.string(),
		reader: z.string(),
	}),
	metrics: z.object({
		scale_service: z.object({ value: z.array(z.number()) }).optional(),
		service: z.object({ value: z.number() }).optional(),
		time_to_first_preview_from_start: z.object({ value: z.number() }).optional(),
	}),
});
type Line = z.infer<typeof Line>;

export interface Recording {
	/** In milliseconds from the run's first moment. */
	requests: Asked[];
	seconds: number;
	warmupSeconds: number;
	/**
	 * A picture's times as one of the run took them, drawn by the seed: of the same policy, if the run has one, and
	 * beside as many others, for workers of one machine share it.
	 */
	service: Service;
	/** What the run saw: milliseconds until a worker began, pictures a second. */
	seen: { p50: number | null; p95: number | null; throughput: number };
}

/**
 * Reads a folder that `load --out` wrote, of a run of this model on so many workers. Throws a UsageError where the
 * simulation cannot be held against it.
 */
export async function readRecording(folder: string, { id, digest }: ModelInfo, workers: number): Promise<Recording> {
	const [summary, lines] = await Promise.all([
		parsed(folder, FILES.summary, (text) => Summary.parse(JSON.parse(text))),
		parsed(folder, FILES.requests, (text) =>
			text
				.trimEnd()
				.split("\n")
				.map((line) => Line.parse(JSON.parse(line))),
		),
	]);
	if (summary.load.kind !== "open")
		throw new UsageError("A simulation has an open model's arrivals.", "Give a run of `load --rate`.");
	const others = lines.flatMap(({ metadata: { model } }) => (model === null || model === id ? [] : model));
	if (others.length > 0 || !summary.target.models.some((model) => model.digest === digest))
		throw new UsageError(
			`That run is not of ${id} alone, as it is here: it names ${[...new Set(others)].join(", ") || "another"}.`,
			"Give its model with --model, or a run of one model.",
		);
	if (lines.some(({ metadata: { reader } }) => ["cancel", "vanish"].includes(reader)))
		throw new UsageError("Readers of that run left early, whose pictures' times are not known.");
	const made = lines.filter(
		({ metadata, metrics: { scale_service, time_to_first_preview_from_start } }) =>
			metadata.outcome === "completed" && scale_service && time_to_first_preview_from_start,
	);
	if (made.length === 0) throw new UsageError(`No picture of ${folder} was completed, with its first preview.`);
	const begun = new Date(summary.date).getTime() * 1e6;
	const waits = made.filter(({ metadata }) => metadata.benchmark_phase !== "warmup").map(waitOf);
	const { percentiles } = distributionOf(waits);
	return {
		requests: lines
			.map(({ metadata: { request_intended_ns: at, policy } }) => ({
				at: (at - begun) / 1e6,
				policy: policy ?? "auto",
			}))
			.sort((a, b) => a.at - b.at),
		seconds: summary.seconds.measured,
		warmupSeconds: summary.seconds.warmup,
		service: serviceOf(made, workers),
		seen: {
			p50: percentiles.p50?.value ?? null,
			p95: percentiles.p95?.value ?? null,
			throughput: summary.rates.completed,
		},
	};
}

function serviceOf(made: readonly Line[], workers: number): Service {
	/** Pictures that were begun beside so many others; where there were none, all of them. */
	const beside = (others: number, of: readonly Line[]) => {
		const same = of.filter(({ metadata }) => Math.min(metadata.in_flight, workers - 1) === others);
		return same.length > 0 ? same : of;
	};
	// Who found a worker free waited for nothing but the way there.
	const unqueued = made.filter(({ metadata }) => metadata.in_flight < workers);
	const byPolicy = Map.groupBy(made, ({ metadata: { policy } }) => policy);
	return (random) => ({
		way: (others) => {
			const some = beside(others, unqueued);
			return some.length > 0 ? waitOf(one(random, some)) : 0;
		},
		steps: (plan, others) => stepsOf(one(random, beside(others, byPolicy.get(plan.policy) ?? made)), plan),
	});
}

/** Milliseconds until a worker began with it: to its first preview, but for what that took to be made. */
function waitOf({ metrics: { time_to_first_preview_from_start: preview, scale_service: scales } }: Line): number {
	return Math.max(0, (preview?.value ?? 0) - (scales?.value[0] ?? 0));
}

/** What each step of a plan took; what the picture took besides its scales, it took in the end. */
function stepsOf({ metrics }: Line, plan: StagePlan): number[] {
	const times = metrics.scale_service?.value ?? [];
	// A scale that is left out has no event.
	const runs = plan.steps.flatMap((step, scale) => (step.kind === "run" ? [scale] : []));
	const rest = (metrics.service?.value ?? 0) - times.reduce((sum, time) => sum + time, 0);
	return plan.steps.map((_, scale) => {
		const run = runs.indexOf(scale);
		return (run < 0 ? 0 : (times[run] ?? 0)) + (run === runs.length - 1 ? Math.max(0, rest) : 0);
	});
}

async function parsed<T>(folder: string, file: string, parse: (text: string) => T): Promise<T> {
	const path = join(folder, file);
	const text = await readFile(path, "utf8").catch((error: Error) => {
		throw new UsageError(`${path} cannot be read: ${error.message}`, "Give the folder that `load --out` wrote.");
	});
	try {
		return parse(text);
	} catch {
		throw new UsageError(`${path} is none of firstlight load's.`, "Give the folder that `load --out` wrote.");
	}
}
