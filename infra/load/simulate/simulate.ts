/**
 * The edge's own pool and job objects under a made-up load, in virtual time: how long pictures wait, how busy GPUs are,
 * what a picture costs, and whether anything is ever lost. The same seed gives the same run. Clocks and
 * timers of the process are virtual from then on.
 */
import type { ModelInfo } from "../../../worker/protocol/model-info.ts";
import type { StagePlan } from "../../../worker/protocol/plan.ts";
import { distributionOf } from "../distribution.ts";
import { type Random, randomOf } from "../random.ts";
import { VirtualClock } from "./clock.ts";
import { type Edge, loadEdge } from "./edge.ts";
import { SimulatedWorker, type Trouble } from "./gpu-worker.ts";
import { ObjectHost, type Weather } from "./objects.ts";

export interface Scenario {
	seed: number;
	workers: number;
	/** In the order of their times; what is under way after the last comes to its end. */
	requests: readonly Asked[];
	/** How long requests come that count. */
	seconds: number;
	/** Before them, as many that nothing but what is broken is told of: an empty house is no fair one. */
	warmupSeconds: number;
	/** What the workers offer. */
	model: ModelInfo;
	service: Service;
	trouble: Trouble;
	weather: Weather;
	restartMs: number;
	networkMs: number;
	/** Share of readers that leave in the midst. */
	leaving: number;
	/** Evictions of objects from memory, a second. */
	evictions: number;
	/** Settings of the edge, by their names. */
	settings: Record<string, string>;
	/** Price of a worker, in any money an hour. */
	pricePerHour: number;
}

/** A request: when it comes, in milliseconds; by which policy, or `auto`. */
export interface Asked {
	at: number;
	policy: string;
}

/** How long things take one worker, whose draws these are. `others`: workers that are at a picture when it begins. */
export type Service = (random: Random) => {
	/** Milliseconds from a lease to the picture's begin. */
	way(others: number): number;
	/** Milliseconds that each step of a picture's plan takes. */
	steps(plan: StagePlan, others: number): number[];
};

export interface Outcome {
	requests: number;
	completed: number;
	refused: number;
	/** By the policy that they got. */
	policies: Record<string, number>;
	/** Readers that left on purpose. */
	left: number;
	/** By the code that a reader was told. */
	errors: Record<string, number>;
	/** What must never be: streams with a gap, a repeat, no end; other bytes for the same seed; work nobody let go of. */
	broken: string[];
	waitMs: Spread;
	firstScaleMs: Spread;
	finalMs: Spread;
	/** Pictures a second while requests came. */
	throughput: number;
	/** Of the workers' time, spent on pictures; and on pictures that were thrown away. */
	utilization: number;
	waste: number;
	/** Money a thousand finished pictures, workers paid by time. */
	costPerThousand: number;
	queueMost: number;
	/** Errors that the objects threw. */
	thrown: string[];
	virtualSeconds: number;
}
interface Spread {
	mean: number | null;
	p50: number | null;
	p95: number | null;
	p99: number | null;
}

interface Read {
	seed: number;
	asked: number;
	refused: string | null;
	left: boolean;
	events: { n: number; type: string; at: number; json: string }[];
	ended: boolean;
	problem: string | null;
}

/** How long after the last request everything must have ended: attempts, deadlines and graces are shorter. */
const GRACE_MS = 900_000;

export async function simulate(scenario: Scenario, signal?: AbortSignal): Promise<Outcome> {
	const { model, trouble, restartMs, networkMs } = scenario;
	const random = (purpose: string) => randomOf(scenario.seed, purpose);
	const edge = await loadEdge(random("ids"));
	using clock = new VirtualClock();
	const begun = clock.now;
	const host = new ObjectHost(clock, random("weather"), scenario.weather);
	host.env.WORKER_SECRET = "simulated-secret-0123456789";
	Object.assign(host.env, scenario.settings);
	host.bind("POOL", edge.Pool);
	host.bind("JOB", edge.Job);
	const quiet = console.log;
	console.log = () => {};
	try {
		const workers: SimulatedWorker[] = Array.from({ length: scenario.workers }, (_, i) => {
			const own = random(`worker ${i}`);
			const others = () => workers.filter((worker, j) => j !== i && worker.busy).length;
			const times = { service: scenario.service(own), others, restartMs, networkMs };
			return new SimulatedWorker({ name: `worker-${i}`, model, trouble, ...times }, clock, host, own);
		});
		for (const worker of workers) void worker.dial();
		await clock.runTo(begun + 1000);
		const start = clock.now;
		const reads: Read[] = [];
		const draw = random("readers");
		const asked = new Map<string, number>();
		for (const { at, policy } of scenario.requests)
			setTimeout(() => {
				// Each seed twice by every policy, so that equal ones can be compared.
				const seed = Math.floor((asked.get(policy) ?? 0) / 2);
				asked.set(policy, (asked.get(policy) ?? 0) + 1);
				reads.push(read(edge, host, clock, { model, policy, seed, leaves: draw() < scenario.leaving && draw() }));
			}, at);
		if (scenario.evictions > 0) evict(host, random("evictions"), scenario);
		const used = () => workers.reduce((sum, worker) => sum + worker.busyUntil(clock.now), 0);
		const from = start + scenario.warmupSeconds * 1000;
		const end = from + scenario.seconds * 1000;
		let queueMost = 0;
		const runTo = async (until: number) => {
			for (let t = clock.now; t < until; t += 1000) {
				signal?.throwIfAborted();
				await clock.runTo(Math.min(until, t + 1000));
				const pool = host.instance("POOL", "default") as { status(): Promise<{ queue: number }> };
				queueMost = Math.max(queueMost, (await pool.status()).queue);
			}
		};
		await runTo(from);
		const usedBefore = used();
		await runTo(end);
		const paidMs = (end - from) * scenario.workers;
		const usedMs = used() - usedBefore;
		const inTime = reads.filter(({ events }) =>
			events.some(({ type, at }) => type === "final" && at > from && at <= end),
		).length;
		for (let t = end; t < end + GRACE_MS && reads.some(({ ended }) => !ended); t += 10_000)
			await clock.runTo(t + 10_000);
		// What was cancelled must be let go of, too.
		await clock.runTo(clock.now + 120_000);
		const pool = host.instance("POOL", "default") as {
			status(): Promise<{ queue: number; workers: { busy: number }[] }>;
		};
		const status = await pool.status();
		const held = status.queue + status.workers.reduce((sum, { busy }) => sum + busy, 0);
		for (const worker of workers) worker.leave();
		return summed(reads, from, {
			broken: [...broken(reads), ...(held > 0 ? [`${held} jobs are still queued or leased`] : [])],
			throughput: inTime / scenario.seconds,
			utilization: usedMs / paidMs,
			waste: workers.reduce((sum, { wastedMs }) => sum + wastedMs, 0) / Math.max(1, used()),
			costPerThousand: ((paidMs / 3_600_000) * scenario.pricePerHour * 1000) / Math.max(1, inTime),
			queueMost,
			thrown: [...new Set(host.errors)],
			virtualSeconds: (clock.now - begun) / 1000,
		});
	} finally {
		console.log = quiet;
	}
}

interface Asking {
	model: ModelInfo;
	policy: string;
	seed: number;
	/** When the reader leaves, as a share of half a minute; false: it stays. */
	leaves: number | false;
}

/** A reader from its question to its end, by the edge's own ways. */
function read(edge: Edge, host: ObjectHost, clock: VirtualClock, { model, policy, seed, leaves }: Asking): Read {
	const made: Read = { seed, asked: clock.now, refused: null, left: false, events: [], ended: false, problem: null };
	const leaving = new AbortController();
	if (leaves !== false)
		setTimeout(() => {
			if (made.ended) return;
			made.left = true;
			leaving.abort();
		}, leaves * 30_000);
	const format = { type: "webp", quality: 90 };
	const traceless = { traceparent: `00-${"1".repeat(32)}-${"1".repeat(16)}-01`, requestId: "simulated" };
	const caller = { owner: null, scopes: [], admitted: null, ...traceless };
	const wish = { prompt: "a photo", digest: model.digest, policy, seed, previews: "all", format };
	void (async () => {
		try {
			const { input } = await edge.orderOf(host.env, wish, { caller }, edge.warnings());
			const job = await edge.startJob(host.env, input);
			for await (const row of edge.follow(host.env, job, -1, leaving.signal))
				if (row) made.events.push({ n: row.n, type: row.type, at: clock.now, json: row.json });
		} catch (error) {
			const { code, status } = error as { code?: string; status?: number };
			if (status === 503 && made.events.length === 0) made.refused = code ?? "refused";
			else made.problem = String((error as Error).stack ?? error);
		}
		made.ended = true;
	})();
	return made;
}

function evict(host: ObjectHost, random: () => number, { evictions, seconds }: Scenario): void {
	for (let at = 0; at < seconds * 1000; at += 1000 / evictions)
		setTimeout(() => {
			if (random() < 0.2) return host.evict("POOL", "default");
			const jobs = host.ids("JOB");
			host.evict("JOB", jobs[Math.floor(random() * jobs.length)]);
		}, at);
}

/** What no reader who stays may see, whatever went wrong below. */
function broken(reads: readonly Read[]): string[] {
	const found: string[] = [];
	const bytes = new Map<string, string>();
	for (const [i, { seed, refused, left, events, ended, problem }] of reads.entries()) {
		if (refused !== null || (left && problem === null)) continue;
		if (!ended) found.push(`reader ${i} waits for ever`);
		if (problem !== null) found.push(`reader ${i}: ${problem}`);
		const gap = events.findIndex(({ n }, at) => n !== at);
		if (gap !== -1) found.push(`reader ${i}: event ${events[gap].n} in place of ${gap}`);
		const last = events.at(-1);
		if (ended && problem === null && last?.type !== "final" && last?.type !== "error")
			found.push(`reader ${i}: the stream ended with ${last?.type}`);
		if (events.filter(({ type }) => type === "final").length > 1) found.push(`reader ${i}: two pictures`);
		if (last?.type === "error" && JSON.parse(last.json).code === "abandoned")
			found.push(`reader ${i}: abandoned, and it was there`);
		if (last?.type !== "final") continue;
		const { sha256 } = JSON.parse(last.json);
		const of = `${seed} ${JSON.parse(events[0].json).policy}`;
		if (bytes.has(of) && bytes.get(of) !== sha256) found.push(`reader ${i}: other bytes for seed ${seed}`);
		bytes.set(of, sha256);
	}
	return found;
}

type Sums = Pick<
	Outcome,
	"broken" | "throughput" | "utilization" | "waste" | "costPerThousand" | "queueMost" | "thrown" | "virtualSeconds"
>;

/** Of what was asked for after the warm-up. */
function summed(all: readonly Read[], from: number, sums: Sums): Outcome {
	const reads = all.filter(({ asked }) => asked >= from);
	const stayed = reads.filter(({ left }) => !left);
	const ends = stayed.flatMap(({ events, asked }) => {
		const final = events.find(({ type }) => type === "final");
		if (!final) return [];
		const first = events.find(({ type }) => type === "scale");
		const { milliseconds } = JSON.parse(final.json);
		const total = final.at - asked;
		return [{ final: total, first: (first?.at ?? final.at) - asked, wait: Math.max(0, total - milliseconds) }];
	});
	const errors: Record<string, number> = {};
	for (const { events } of stayed) {
		const last = events.at(-1);
		if (last?.type !== "error") continue;
		const { code } = JSON.parse(last.json);
		errors[code] = (errors[code] ?? 0) + 1;
	}
	const policies: Record<string, number> = {};
	for (const { events } of reads) {
		if (events.length === 0) continue;
		const { policy } = JSON.parse(events[0].json);
		policies[policy] = (policies[policy] ?? 0) + 1;
	}
	return {
		requests: reads.length,
		completed: ends.length,
		policies,
		refused: reads.filter(({ refused }) => refused !== null).length,
		left: reads.filter(({ left }) => left).length,
		errors,
		waitMs: spreadOf(ends.map(({ wait }) => wait)),
		firstScaleMs: spreadOf(ends.map(({ first }) => first)),
		finalMs: spreadOf(ends.map(({ final }) => final)),
		...sums,
	};
}

function spreadOf(values: readonly number[]): Spread {
	const { mean, percentiles } = distributionOf(values);
	const at = (p: string) => percentiles[p]?.value ?? null;
	return { mean, p50: at("p50"), p95: at("p95"), p99: at("p99") };
}
