/** A run in figures: one JSON document, for people, for `--compare` and for tools that read vLLM's. */
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { z } from "zod";
import { expected } from "./arrivals.ts";
import { Distribution, distributionOf, type Timed } from "./distribution.ts";
import { doubts, findingsOf, hintsOf, releaseMs } from "./findings.ts";
import { type Goodput, isGood } from "./goodput.ts";
import type { Run, Sample } from "./run.ts";
import type { Versions } from "./watch.ts";

const Counts = z.record(z.string(), z.number());

export const Summary = z.object({
	tool: z.literal("firstlight load"),
	format: z.literal(1),
	date: z.string(),
	/** Whether the figures can be believed; why not. */
	valid: z.boolean(),
	reasons: z.array(z.string()),
	findings: z.array(z.object({ class: z.string(), detail: z.string() })),
	target: z.object({
		url: z.string(),
		adapters: z.array(z.string()),
		models: z.array(z.object({ id: z.string(), digest: z.string() })),
	}),
	/** As it was asked for: model of load, arrivals, seed, mix, and by what it was judged. */
	load: z.record(z.string(), z.unknown()),
	goodput: z.record(z.string(), z.number()).nullable(),
	client: z.record(z.string(), z.unknown()),
	seconds: z.object({ measured: z.number(), warmup: z.number(), all: z.number() }),
	counts: Counts,
	faults: Counts,
	errors: Counts,
	refusals: Counts,
	retry_after: Counts,
	policies: Counts,
	/** A second; completed and good ones are those that ended while requests were sent, the warm-up left out. */
	rates: z.object({
		offered: z.number(),
		completed: z.number(),
		good: z.number().nullable(),
		/** Good ones of those whose readers meant to stay; null without a target. */
		attainment: z.number().nullable(),
	}),
	metrics: z.record(z.string(), Distribution),
	preview_bytes: z.record(z.string(), z.number()),
	cancel_to_release_ms: z.number().nullable(),
});
export type Summary = z.infer<typeof Summary>;

/** Every time that was measured, by its name; `at` is when the request was meant to be sent. */
export function metricsOf(samples: readonly Sample[]): Map<string, Timed[]> {
	const metrics = new Map<string, Timed[]>();
	for (const { trace, judgement } of samples) {
		const add = (name: string, ms: number | null) => {
			if (ms === null || Number.isNaN(ms)) return;
			const values = metrics.get(name) ?? [];
			values.push({ at: trace.intended, ms });
			metrics.set(name, values);
		};
		const { fromIntended, fromSent, gaps, scales, service, wait, lag } = judgement;
		add("lag", lag);
		for (const name of ["acknowledged", "first_event", "first_preview", "usable", "final"] as const)
			add(name, fromIntended[name]);
		for (const name of ["first_event", "first_preview", "usable", "final"] as const)
			add(`${name}_from_sent`, fromSent[name]);
		for (const gap of gaps) add("gap", gap);
		for (const { index, at, milliseconds } of scales) {
			add(`scale_${index}`, at);
			add(`scale_${index}_service`, milliseconds);
		}
		add("service", service);
		add("wait", wait);
	}
	return metrics;
}

export interface About {
	url: string;
	goodput: Goodput | null;
	/** What a preview must be like to be usable, and what is too long, in milliseconds. */
	judged: { usable: number; silenceMs: number; lateMs: number; timeoutMs: number };
	versions: Versions;
	/** Of the package that measures. */
	version: string;
}

export function summaryOf(run: Run, about: About): Summary {
	const { plan, samples } = run;
	const measured = samples.filter(({ phase }) => phase === "measured");
	const judged = measured.map(({ judgement }) => judgement);
	const metrics = [...metricsOf(measured)].map(([name, values]): [string, Distribution] => [
		name,
		distributionOf(values.map(({ ms }) => ms)),
	]);
	const firstPreview = metrics.find(([name]) => name === "first_preview")?.[1].percentiles.p50?.value ?? null;
	const reasons = doubts(run, firstPreview, judged);
	const window = plan.seconds - plan.warmupSeconds;
	const skipped = run.skipped.filter((at) => at >= plan.warmupSeconds * 1000).length;
	const inWindow = ({ trace, judgement: { outcome } }: Sample) =>
		outcome === "completed" && trace.ended >= plan.warmupSeconds * 1000 && trace.ended < plan.seconds * 1000;
	const targets = about.goodput;
	const good = targets && ((some: readonly Sample[]) => some.filter((one) => isGood(one.judgement, targets)).length);
	const staying = measured.filter(({ trace }) => !["cancel", "vanish"].includes(trace.asked.reader.kind));
	const meant = staying.length + skipped;
	return {
		tool: "firstlight load",
		format: 1,
		date: run.begunAt.toISOString(),
		valid: reasons.length === 0,
		reasons,
		findings: findingsOf(measured),
		target: { url: about.url, ...about.versions },
		load: {
			...plan.model,
			...(plan.model.kind === "open" && { expected: expected(plan.model.profile) }),
			seed: plan.seed,
			mix: plan.mix,
			judged: about.judged,
		},
		goodput: about.goodput,
		client: {
			version: about.version,
			node: process.version,
			system: `${type()} ${release()}`,
			cpu: cpus()[0]?.model ?? "unknown",
			cores: availableParallelism(),
			memory_bytes: totalmem(),
			loop_delay_p99_ms: run.loop.p99Ms,
			loop_delay_max_ms: run.loop.maxMs,
			loop_utilization: run.loop.utilization,
		},
		seconds: { measured: window, warmup: plan.warmupSeconds, all: run.seconds },
		counts: {
			...countBy(judged, ({ outcome }) => outcome),
			requests: measured.length,
			warmup: samples.length - measured.length,
			skipped,
			faulty: judged.filter(({ faults }) => faults.length > 0).length,
			reconnects: judged.reduce((sum, { reconnects }) => sum + reconnects, 0),
			pictures_hashed: measured.filter(({ trace }) => trace.frames.some(({ final }) => final?.sha256)).length,
			...(good && { good: good(measured) }),
		},
		faults: countBy(
			judged.flatMap(({ faults }) => faults),
			(fault) => fault.class,
		),
		errors: countBy(
			judged.filter(({ errorCode }) => errorCode !== null),
			({ errorCode }) => errorCode as string,
		),
		refusals: countBy(
			judged.flatMap(({ refusedWith }) => refusedWith ?? []),
			({ status, code }) => `${status} ${code}`,
		),
		retry_after: { ...hintsOf(measured) },
		policies: countBy(
			judged.filter(({ policy }) => policy !== null),
			({ policy }) => policy as string,
		),
		rates: {
			offered: (measured.length + skipped) / window,
			completed: samples.filter(inWindow).length / window,
			good: good && good(samples.filter(inWindow)) / window,
			attainment: good && meant > 0 ? good(staying) / meant : null,
		},
		metrics: Object.fromEntries(metrics),
		preview_bytes: previewBytes(measured),
		cancel_to_release_ms: releaseMs(run),
	};
}

/** Mean size of the previews of each scale, and of the final picture. */
function previewBytes(samples: readonly Sample[]): Record<string, number> {
	const sizes = samples.flatMap(({ trace }) =>
		trace.frames.flatMap(({ scale, final, picture }) =>
			picture && picture.problem === null && (scale || final)
				? [{ of: scale ? `scale_${scale.index}` : "final", bytes: picture.bytes }]
				: [],
		),
	);
	return Object.fromEntries(
		[...Map.groupBy(sizes, ({ of }) => of)].map(([name, group]) => [
			name,
			Math.round(group.reduce((sum, { bytes }) => sum + bytes, 0) / group.length),
		]),
	);
}

/** The same figures by the names of vLLM's serving benchmark, pictures in place of tokens. */
export function vllmNames({ metrics, rates, counts, seconds, date, load }: Summary): Record<string, unknown> {
	const flat: Record<string, unknown> = {
		date,
		num_prompts: counts.requests,
		completed: counts.completed ?? 0,
		failed: counts.requests - (counts.completed ?? 0),
		duration: seconds.measured,
		request_rate: rates.offered,
		burstiness: (load.arrival as { burstiness?: number } | undefined)?.burstiness ?? null,
		max_concurrency: load.readers ?? load.maxInFlight ?? null,
		request_throughput: rates.completed,
		request_goodput: rates.good,
	};
	const names = { first_preview: "ttfp", final: "e2el", gap: "isl", usable: "ttup" };
	for (const [metric, name] of Object.entries(names)) {
		const distribution = metrics[metric];
		if (!distribution) continue;
		flat[`mean_${name}_ms`] = distribution.mean;
		flat[`std_${name}_ms`] = distribution.std;
		flat[`median_${name}_ms`] = distribution.percentiles.p50?.value ?? null;
		for (const [p, at] of Object.entries(distribution.percentiles)) flat[`${p}_${name}_ms`] = at?.value ?? null;
		flat[`max_${name}_ms`] = distribution.max;
	}
	return flat;
}

function countBy<T>(of: readonly T[], name: (each: T) => string): Record<string, number> {
	return Object.fromEntries([...Map.groupBy(of, name)].map(([key, group]) => [key, group.length]).sort());
}
