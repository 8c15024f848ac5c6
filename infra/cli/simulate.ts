import { Option } from "@commander-js/extra-typings";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import type { Outcome, Scenario } from "../load/simulate/simulate.ts";
import {
	holds,
	type Offered,
	type ScenarioOf,
	SWEEPS,
	type Sweep,
	sweep,
	sweepCharts,
} from "../load/simulate/sweep.ts";
import { agreementText, simulationText } from "../load/texts.ts";
import { choice, count, fileNamed, given, jsonOption, modelName, policyNamed, positive } from "./options.ts";
import { type OutputFile, outputFile } from "./output.ts";
import type { Define } from "./program.ts";
import type { Terminal } from "./terminal.ts";
import { UsageError } from "./usage.ts";

/**
 * The edge's own pool and jobs under a made-up load in virtual time. Exit code 1 when anything was lost, repeated, or
 * never let go of. `--chaos`: the same with workers that die, hang and repeat themselves, late alarms and evictions.
 */
export const define: Define = (command, terminal) =>
	command
		.option("--workers <number>", "GPU workers", count("workers", 1, 100_000), 10)
		.option("--rate <number>", "requests a second (default: three quarters of what the workers hold)", positive("rate"))
		.option("--seconds <number>", "of requests", positive("seconds"), 120)
		.option("--service <milliseconds>", "of a picture under exact, on one worker", positive("service"), 2000)
		.option("--spread <share>", "deviation of workers' speeds and of pictures' times", positive("spread"), 0.1)
		.addOption(new Option("--model <model>", "whose schedules and plans").argParser(modelName).default("tiny"))
		.option("--policies <names>", "with commas between, in turn; auto: the edge's choice", "exact")
		.option("--chaos", "workers die, hang and repeat themselves, alarms are late, objects are evicted, readers leave")
		.option("--queue <number>", "pictures that may wait (default: the edge's own)", count("queue", 0, 1_000_000))
		.option("--price <number>", "of a worker an hour", positive("price"), 1)
		.option("--seed <number>", "the same run again", count("seed", 0, 0xffff_ffff), 1)
		.option("--runs <number>", "one after the other, each with the next seed", count("runs", 1, 1_000_000), 1)
		.addOption(
			new Option("--like <folder>", "requests and times of a run that `load --out` wrote, and how near it comes")
				.argParser(given("like"))
				.conflicts(["rate", "seconds", "service", "spread", "policies", "chaos", "runs", "sweep"]),
		)
		.addOption(
			choice("sweep", "the same at several loads, or with several numbers of workers", SWEEPS).conflicts(["runs"]),
		)
		.option("--out <file>", "of a sweep: a page with its charts", fileNamed("out", ".html"))
		.addOption(jsonOption())
		.action(async (options) => {
			const { workers, seconds, service, policies, price, seed, runs } = options;
			const { rate = 0.75 * holds(workers, service) } = options;
			if (options.out !== undefined && !options.sweep)
				throw new UsageError("--out is a sweep's: give --sweep beside it.");
			const names = policies
				.split(",")
				.map((name) => (name.trim() === "auto" ? "auto" : policyNamed(name.trim()).name));
			const page = await outputFile("--out", options.out);
			const { simulate } = await import("../load/simulate/simulate.ts");
			const { modelled, poisson } = await import("../load/simulate/modelled.ts");
			const { info: model } = await openModelFolder(findModel(options.model));
			const about = {
				model,
				pricePerHour: price,
				restartMs: 5000,
				...settingOf(options),
				...(options.chaos ? CHAOS : CALM),
			};
			if (options.like !== undefined) {
				const { readRecording } = await import("../load/simulate/recording.ts");
				const { seen, ...recorded } = await readRecording(options.like, model, workers);
				// Deliveries, and the edge's own calls in them, are in the times that were measured.
				const near = { networkMs: 0, weather: { ...CALM.weather, callMs: 0 } };
				const outcome = await simulate({ ...about, ...recorded, ...near, seed, workers }, terminal.signal);
				terminal.print(`${simulationText(outcome)}\n\n${agreementText(outcome, seen)}`);
				terminal.result({ outcome, seen });
				if (outcome.broken.length > 0) process.exitCode = 1;
				return;
			}
			const warmupSeconds = (3 * service) / 1000;
			const scenarioOf = (workers: number, rate: number, seconds: number, of = seed): Scenario => ({
				...about,
				seed: of,
				workers,
				requests: poisson(rate, warmupSeconds + seconds, names, of),
				seconds,
				warmupSeconds,
				service: modelled(model, service, options.spread),
				networkMs: 2,
			});
			if (options.sweep) {
				const offered = { workers, serviceMs: service, rate, seconds };
				const title = { of: model.id, policies: names, seed };
				return await swept(options.sweep, offered, scenarioOf, title, page, terminal);
			}
			const outcomes: Outcome[] = [];
			using bar = terminal.progress("{bar} {value}/{total} runs");
			for (let i = 0; i < runs; i++) {
				const outcome = await simulate(scenarioOf(workers, rate, seconds, seed + i), terminal.signal);
				outcomes.push(outcome);
				bar.report(i + 1, runs);
				if (runs > 1 && outcome.broken.length === 0) continue;
				if (runs > 1) terminal.print(`Seed ${seed + i}:`);
				terminal.print(simulationText(outcome));
			}
			bar[Symbol.dispose]();
			const broken = outcomes.filter((outcome) => outcome.broken.length > 0).length;
			if (runs > 1) terminal.print(`${runs} runs, ${broken} with something lost, repeated or left behind.`);
			terminal.result(runs > 1 ? outcomes : outcomes[0]);
			if (broken > 0) process.exitCode = 1;
		});

const CALM = {
	trouble: { killed: 0, dropped: 0, hung: 0, doubled: 0, unanswered: 0 },
	weather: { callMs: 1, alarmLateMs: 0, alarmTwice: 0 },
	leaving: 0,
	evictions: 0,
};
const CHAOS: typeof CALM = {
	trouble: { killed: 0.04, dropped: 0.04, hung: 0.02, doubled: 0.05, unanswered: 0.05 },
	weather: { callMs: 20, alarmLateMs: 2000, alarmTwice: 0.1 },
	leaving: 0.1,
	evictions: 0.5,
};

const settingOf = ({ queue }: { queue?: number }): Pick<Scenario, "settings"> => ({
	settings: queue === undefined ? {} : { QUEUE_LIMIT: String(queue) },
});

interface Title {
	of: string;
	policies: readonly string[];
	seed: number;
}

async function swept(
	over: Sweep,
	offered: Offered,
	scenarioOf: ScenarioOf,
	{ of, policies, seed }: Title,
	page: OutputFile | undefined,
	terminal: Terminal,
): Promise<void> {
	using bar = terminal.progress("{bar} {value}/{total} simulations");
	const points = await sweep(over, offered, scenarioOf, terminal.signal, bar.report);
	bar[Symbol.dispose]();
	for (const { x, outcome } of points) {
		const { waitMs, utilization, costPerThousand, requests, refused } = outcome;
		const wait = [waitMs.mean, waitMs.p95].map((ms) => (ms === null ? "-" : ms.toFixed(0)).padStart(8)).join("");
		const use = `${(100 * utilization).toFixed(1)} % busy`.padStart(14);
		const turned = `${((100 * refused) / requests).toFixed(1)} % refused`.padStart(16);
		terminal.print(
			`${String(x).padStart(6)}  wait ms (mean, p95)${wait}${use}${turned}  ${costPerThousand.toFixed(3)} a thousand`,
		);
	}
	const { workers, serviceMs, rate } = offered;
	const about =
		over === "load" ? `${workers} workers` : `${(rate / workers).toFixed(3)} requests a second for each worker`;
	const what = `${serviceMs} ms a picture of ${of} by exact; ${policies.join(", ")}, seed ${seed}`;
	const subtitle = `${about}, ${what}: the edge's own pool and jobs`;
	const { chartPage } = await import("../load/report/page.ts");
	await page?.write(
		await chartPage({
			title: `Simulated: ${over}`,
			subtitle,
			before: [],
			charts: sweepCharts(points, over),
			after: [],
		}),
	);
	terminal.result(points);
	if (points.some(({ outcome }) => outcome.broken.length > 0)) process.exitCode = 1;
}
