import { Option } from "@commander-js/extra-typings";
import { findModel } from "../../model-shards/open.ts";
import type { Outcome, Scenario } from "../load/simulate/simulate.ts";
import { holds, SWEEPS, type Sweep, sweep, sweepCharts } from "../load/simulate/sweep.ts";
import { simulationText } from "../load/texts.ts";
import { choice, count, fileNamed, jsonOption, modelName, policyNamed, positive } from "./options.ts";
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
		.option("--policies <names>", "with commas between, in turn", "exact")
		.option("--chaos", "workers die, hang and repeat themselves, alarms are late, objects are evicted, readers leave")
		.option("--queue <number>", "pictures that may wait (default: the edge's own)", count("queue", 1, 1_000_000))
		.option("--price <number>", "of a worker an hour", positive("price"), 1)
		.option("--seed <number>", "the same run again", count("seed", 0, 0xffff_ffff), 1)
		.option("--runs <number>", "one after the other, each with the next seed", count("runs", 1, 1_000_000), 1)
		.addOption(choice("sweep", "the same at several loads, or with several numbers of workers", SWEEPS))
		.option("--out <file>", "of a sweep: a page with its charts", fileNamed("out", ".html"))
		.addOption(jsonOption())
		.action(async (options) => {
			const { workers, rate, seconds, service, spread, model, policies, chaos, queue, price, seed, runs } = options;
			if (options.out !== undefined && !options.sweep)
				throw new UsageError("--out is a sweep's: give --sweep beside it.");
			const page = await outputFile("--out", options.out);
			const { CALM, STILL, simulate } = await import("../load/simulate/simulate.ts");
			const scenario = {
				seed,
				workers,
				rate: rate ?? 0.75 * holds(workers, service),
				seconds,
				warmupSeconds: (3 * service) / 1000,
				arrival: { process: "poisson" as const },
				model: findModel(model),
				policies: policies.split(",").map((name) => policyNamed(name.trim()).name),
				serviceMs: service,
				spread,
				trouble: chaos ? { killed: 0.04, dropped: 0.04, hung: 0.02, doubled: 0.05, unanswered: 0.05 } : CALM,
				weather: chaos ? { callMs: 20, alarmLateMs: 2000, alarmTwice: 0.1 } : STILL,
				restartMs: 5000,
				networkMs: 2,
				leaving: chaos ? 0.1 : 0,
				evictions: chaos ? 0.5 : 0,
				settings: (queue === undefined ? {} : { QUEUE_LIMIT: String(queue) }) as Record<string, string>,
				pricePerHour: price,
			};
			if (options.sweep) return await swept(scenario, options.sweep, page, terminal);
			const outcomes: Outcome[] = [];
			using bar = terminal.progress("{bar} {value}/{total} runs");
			for (let i = 0; i < runs; i++) {
				const outcome = await simulate({ ...scenario, seed: seed + i }, terminal.signal);
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

async function swept(scenario: Scenario, over: Sweep, page: OutputFile | undefined, terminal: Terminal): Promise<void> {
	using bar = terminal.progress("{bar} {value}/{total} simulations");
	const points = await sweep(scenario, over, terminal.signal, bar.report);
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
	const { workers, serviceMs, seed, policies, rate } = scenario;
	const about =
		over === "load" ? `${workers} workers` : `${(rate / workers).toFixed(3)} requests a second for each worker`;
	const what = `${serviceMs} ms a picture, ${policies.join(", ")}, seed ${seed}`;
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
