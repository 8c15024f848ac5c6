/**
 * `npm run soak:edge`: an hour of the product under load and faults, then idle minutes; what grew, what stayed behind,
 * what it takes when nobody asks. Exit code 1 where a verdict is bad.
 */
import { readFile } from "node:fs/promises";
import { availableParallelism, constants, cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { count, positive } from "../../cli/options.ts";
import { outputFile } from "../../cli/output.ts";
import { UsageError } from "../../cli/usage.ts";
import { steady } from "../arrivals.ts";
import { Mix } from "../mix.ts";
import { type Live, type Run, run } from "../run.ts";
import { type Planned, plannedFaults } from "./faults.ts";
import {
	descriptorVerdicts,
	idleVerdicts,
	livesOf,
	memoryVerdicts,
	pictureVerdicts,
	type Reading,
	stateVerdicts,
} from "./judge.ts";
import { Line } from "./line.ts";
import { type Disturbance, picturesOf } from "./pictures.ts";
import { Product } from "./product.ts";
import { StateWatch } from "./state.ts";
import { progressText, tableText, verdictText } from "./texts.ts";

const EVERY_MS = 10_000;
const KEEP_SECONDS = 10;
/** What is kept has gone, the edge has let go of objects that had it, and cleared away their files, by the minute. */
const SETTLE_MS = 1000 * (KEEP_SECONDS + 95);
/** After the load: besides, a claim that nobody came back for lasts for half a minute. */
const LAST_MS = 150_000;

const options = readOptions();
const stopping = new AbortController();
const { signal } = stopping;
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
	process.on(name, () => {
		process.exitCode = 128 + constants.signals[name];
		// Once more: at once.
		if (signal.aborted) process.exit();
		stopping.abort();
	});
try {
	await soak();
} catch (error) {
	if (signal.aborted) console.error("Interrupted: everything that was started has been ended.");
	else {
		console.error(error instanceof Error ? error.message : error);
		process.exitCode = 1;
		stopping.abort();
	}
}

function readOptions() {
	try {
		const { values } = parseArgs({
			options: {
				minutes: { type: "string", default: "60" },
				idle: { type: "string", default: "10" },
				rate: { type: "string", default: "0.4" },
				seed: { type: "string", default: "1" },
				json: { type: "string" },
			},
		});
		return {
			minutes: positive("minutes")(values.minutes),
			idle: positive("idle")(values.idle),
			rate: positive("rate")(values.rate),
			seed: count("seed", 0, 0xffff_ffff)(values.seed),
			json: values.json,
		};
	} catch (error) {
		console.error((error as Error).message, error instanceof UsageError ? (error.hint ?? "") : "");
		console.error("npm run soak:edge -- [--minutes 60] [--idle 10] [--rate 0.4] [--seed 1] [--json FILE]");
		process.exit(2);
	}
}

async function soak(): Promise<void> {
	if (process.platform !== "linux") throw new UsageError("The soak reads /proc, which this system does not have.");
	const json = await outputFile("--json", options.json);
	await using running = new AsyncDisposableStack();
	const settings = { GPU_WORKERS: "2", MODELS: "tiny", API_KEYS: "none", JOB_KEEP_SECONDS: String(KEEP_SECONDS) };
	const product = running.use(await Product.start(settings));
	const state = running.use(new StateWatch(product.state));
	const line = running.use(await Line.to(product.url));
	const readings: Reading[] = [];
	let zero = performance.now();
	const read = async (phase: Reading["phase"]) => {
		const [at, processes] = [(performance.now() - zero) / 1000, product.processes()];
		readings.push({ at, phase, processes, state: await state.look() });
	};
	const watched = async (phase: Reading["phase"], forMs: number, until: () => boolean = () => false) => {
		for (const end = performance.now() + forMs; performance.now() < end && !until() && !signal.aborted; ) {
			await read(phase);
			await sleep(Math.min(EVERY_MS, Math.max(0, end - performance.now())), undefined, { signal }).catch(() => {});
		}
		signal.throwIfAborted();
		await read(phase);
	};
	const load = { mix: await readMix(), url: line.url };

	console.log(`Firstlight runs at ${product.url}, its state in ${product.state}`);
	// What stays for good (of a worker that was lost, of each one's pace) has to be there before it can be compared.
	await product.whole(signal);
	product.signal("worker 1", "SIGKILL");
	await sleep(1000, undefined, { signal });
	await product.whole(signal);
	await send({ ...load, seconds: 15, rate: 1 });
	await sleep(SETTLE_MS, undefined, { signal });
	await watched("before", 10_000);

	const before = zero;
	zero = performance.now();
	for (const reading of readings) reading.at -= (zero - before) / 1000;
	const seconds = options.minutes * 60;
	const faults = plannedFaults(seconds, options.seed);
	const done: { fault: Planned; from: number; to: number }[] = [];
	let live: Live | undefined;
	const begun = Date.now();
	const sending = Promise.all([
		send({ ...load, seconds, rate: options.rate }, (now) => (live = now)),
		breakThings(faults, done, product, line, zero),
	]);
	let over = false;
	const ended = () => (over = true);
	sending.then(ended, ended);
	const say = () => console.log(progressText(readings.at(-1), live, done.length));
	const progress = setInterval(say, Math.min(60_000, seconds * 100));
	const [made] = await watched("load", Number.POSITIVE_INFINITY, () => over)
		.then(() => sending)
		.finally(() => clearInterval(progress));
	// By the clock of the run, which began a moment later.
	const later = made.zero - zero;
	const disturbances = done.flatMap(({ fault: { kind }, from, to }): Disturbance[] =>
		kind === "restart" || kind === "cut" ? [{ kind, from: from - later, to: to - later }] : [],
	);

	console.log(`The load is over after ${made.samples.length} requests; what is kept goes`);
	await watched("after", LAST_MS);
	console.log(`${options.idle} minutes without a request`);
	await watched("idle", options.idle * 60_000);

	const pictures = picturesOf(made.samples, disturbances);
	const verdicts = [
		...memoryVerdicts(livesOf(readings)),
		...descriptorVerdicts(readings),
		...stateVerdicts(readings),
		...pictureVerdicts(pictures),
		...idleVerdicts(readings),
	];
	console.log(`\n${tableText(readings)}\n\n${verdicts.map(verdictText).join("\n")}`);
	const bad = verdicts.filter(({ good }) => good === false).length;
	const untold = verdicts.filter(({ good }) => good === null).length;
	console.log(`\n${verdicts.length - bad - untold} good, ${bad} bad, ${untold} not told`);
	if (bad > 0) process.exitCode = 1;
	const machine = { cores: availableParallelism(), cpu: cpus()[0]?.model ?? "unknown", node: process.version };
	const result = { options, machine, date: new Date(begun).toISOString(), verdicts, pictures, faults: done, readings };
	await json?.write(JSON.stringify(result));
}

async function readMix(): Promise<Mix> {
	return Mix.parse(JSON.parse(await readFile(join(import.meta.dirname, "mix.json"), "utf8")));
}

function send(
	{ mix, url, seconds, rate }: { mix: Mix; url: string; seconds: number; rate: number },
	live?: (now: Live) => void,
): Promise<Run> {
	const plan = {
		model: {
			kind: "open" as const,
			profile: steady(rate, seconds),
			arrival: { process: "poisson" as const },
			maxInFlight: 200,
		},
		seconds,
		warmupSeconds: 0,
		seed: options.seed,
		mix,
		prompts: [],
		keepShare: 0,
	};
	return run(plan, { url, keys: {}, timeoutMs: 120_000 }, signal, live);
}

/** Does what is planned, at its time, and notes in milliseconds of the load when it began and was over. */
async function breakThings(
	faults: readonly Planned[],
	done: { fault: Planned; from: number; to: number }[],
	product: Product,
	line: Line,
	zero: number,
): Promise<void> {
	const now = () => performance.now() - zero;
	for (const fault of faults) {
		await sleep(Math.max(0, fault.at * 1000 - now()), undefined, { signal }).catch(() => {});
		if (signal.aborted) return;
		const from = now();
		const note = () => done.push({ fault, from, to: now() });
		if (fault.kind === "cut") {
			await line.cut();
			note();
		} else if (fault.kind === "restart") {
			await product.cutPower();
			await product.up();
			note();
		} else if (fault.kind === "kill") {
			if (product.signal(fault.name as string, "SIGKILL")) note();
		} else if (product.signal(fault.name as string, "SIGSTOP")) {
			// Others go on meanwhile.
			void sleep((fault.seconds ?? 0) * 1000, undefined, { signal })
				.catch(() => {})
				.then(() => product.signal(fault.name as string, "SIGCONT") && note());
		}
	}
}
