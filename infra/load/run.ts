/** Drives a run: requests at their times (open), or by so many readers in turn (closed). */
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { type Arrival, arrivals, type RateProfile } from "./arrivals.ts";
import { type Judgement, judge, LIMITS, type Limits } from "./judge.ts";
import { drawn, type Mix } from "./mix.ts";
import { randomOf } from "./random.ts";
import { send, type Target } from "./send.ts";
import { Trace } from "./trace.ts";
import { type HealthSample, Watch } from "./watch.ts";
import { Wire } from "./wire.ts";

export type Model =
	| { kind: "open"; profile: RateProfile; arrival: Arrival; maxInFlight: number }
	| { kind: "closed"; readers: number; thinkMs: number };

export interface Plan {
	model: Model;
	/** Of sending, the warm-up included. What is under way then comes to its end. */
	seconds: number;
	/** Requests meant for the first so many seconds are kept apart. */
	warmupSeconds: number;
	seed: number;
	mix: Mix;
	/** Where the mix names none. */
	prompts: readonly string[];
	limits?: Partial<Limits>;
	/** Of all requests, such a share keep their pictures, to be looked at after the run. */
	keepShare: number;
}

/** A request as the run has it: made, or skipped where too many were under way. */
export interface Sample {
	trace: Trace;
	phase: "warmup" | "measured";
	judgement: Judgement;
}

export interface Run {
	plan: Plan;
	/** Wall clock of the run's zero. */
	begunAt: Date;
	/** The same by `performance.now()`: what all of its times count from. */
	zero: number;
	samples: Sample[];
	/** Intended times of what was not sent, since `maxInFlight` were under way. */
	skipped: number[];
	/** Length in seconds, until the last request had ended. */
	seconds: number;
	/** Of the process that sends: 99th percentile and maximum of its event loop's delay, and how busy it was. */
	loop: { p99Ms: number; maxMs: number; utilization: number };
	health: HealthSample[];
	interrupted: boolean;
}

export interface Live {
	seconds: number;
	inFlight: number;
	sent: number;
	completed: number;
	faulty: number;
	refused: number;
	skipped: number;
	/** First previews of the last seconds. */
	firstPreviews: readonly number[];
}

export async function run(plan: Plan, target: Target, signal: AbortSignal, live?: (now: Live) => void): Promise<Run> {
	await using wire = new Wire();
	const loop = monitorEventLoopDelay({ resolution: 2 });
	const zero = performance.now();
	const clock = () => performance.now() - zero;
	const begunAt = new Date();
	const watch = new Watch(target, clock);
	const before = performance.eventLoopUtilization();
	loop.enable();
	const samples: Sample[] = [];
	const skipped: number[] = [];
	const under = new Set<Promise<void>>();
	const limits = { ...LIMITS, ...plan.limits };
	let sent = 0;
	const begin = (intended: number): Promise<void> => {
		const asked = drawn(plan.mix, sent, plan.seed, plan.prompts);
		const trace = new Trace(asked, intended, keeps(sent++, plan), clock);
		trace.inFlight = under.size;
		trace.sent = clock();
		const done = send(trace, target, wire, clock, signal).then(() => {
			under.delete(done);
			// Cut off by ourselves: nothing is known of what it would have become.
			if (signal.aborted) return;
			const phase = intended < plan.warmupSeconds * 1000 ? "warmup" : "measured";
			samples.push({ trace, phase, judgement: judge(trace, limits) });
		});
		under.add(done);
		return done;
	};
	const ticker = setInterval(() => live?.(liveOf(clock(), under.size, sent, samples, skipped)), 1000);
	try {
		if (plan.model.kind === "open") await open(plan, plan.model, clock, signal, begin, skipped, under);
		else await closed(plan.seconds, plan.model, clock, signal, begin);
		await Promise.all(under);
	} finally {
		clearInterval(ticker);
		loop.disable();
		await watch.stop();
	}
	const { utilization } = performance.eventLoopUtilization(before);
	samples.sort((a, b) => a.trace.asked.index - b.trace.asked.index);
	return {
		plan,
		begunAt,
		zero,
		samples,
		skipped,
		seconds: clock() / 1000,
		loop: { p99Ms: loop.percentile(99) / 1e6, maxMs: loop.max / 1e6, utilization },
		health: watch.samples,
		interrupted: signal.aborted,
	};
}

/** What is due is sent, however many are still under way; only the cap, which is told, keeps one back. */
async function open(
	{ seed }: Plan,
	{ profile, arrival, maxInFlight }: Extract<Model, { kind: "open" }>,
	clock: () => number,
	signal: AbortSignal,
	begin: (intended: number) => Promise<void>,
	skipped: number[],
	under: ReadonlySet<unknown>,
): Promise<void> {
	for (const due of arrivals(profile, arrival, seed)) {
		const wait = due - clock();
		if (wait > 0) await sleep(wait, undefined, { signal }).catch(() => {});
		if (signal.aborted) return;
		if (under.size >= maxInFlight) skipped.push(due);
		else void begin(due);
	}
}

/** Each reader asks again when it has its answer. */
async function closed(
	seconds: number,
	{ readers, thinkMs }: Extract<Model, { kind: "closed" }>,
	clock: () => number,
	signal: AbortSignal,
	begin: (intended: number) => Promise<void>,
): Promise<void> {
	const turns = async () => {
		for (let due = clock(); due < seconds * 1000 && !signal.aborted; due = clock()) {
			const before = clock();
			await begin(due);
			const rest = Math.max(thinkMs, clock() - before < 5 ? 50 : 0);
			// One that is refused at once does not ask again at once.
			if (rest > 0) await sleep(rest, undefined, { signal }).catch(() => {});
		}
	};
	await Promise.all(Array.from({ length: readers }, turns));
}

/** A seeded draw for every request: how many there will be is not always known. */
const keeps = (index: number, { keepShare, seed }: Plan): boolean => randomOf(seed, `keep ${index}`)() < keepShare;

function liveOf(
	now: number,
	inFlight: number,
	sent: number,
	samples: readonly Sample[],
	skipped: readonly number[],
): Live {
	const count = (of: (sample: Sample) => boolean) => samples.filter(of).length;
	const recent = samples.filter(({ trace }) => trace.ended > now - 5000);
	return {
		seconds: now / 1000,
		inFlight,
		sent,
		completed: count(({ judgement }) => judgement.outcome === "completed"),
		faulty: count(({ judgement }) => judgement.faults.length > 0),
		refused: count(({ judgement }) => judgement.outcome === "refused"),
		skipped: skipped.length,
		firstPreviews: recent.flatMap(({ judgement }) => judgement.fromIntended.first_preview ?? []),
	};
}
