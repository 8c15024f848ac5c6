import { Option } from "@commander-js/extra-typings";
import { findModel } from "../../model-shards/open.ts";
import { simulationText } from "../load/texts.ts";
import { count, jsonOption, modelName, policyNamed, positive } from "./options.ts";
import type { Define } from "./program.ts";

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
		.addOption(jsonOption())
		.action(async ({ workers, rate, seconds, service, spread, model, policies, chaos, queue, price, seed }) => {
			const { CALM, STILL, simulate } = await import("../load/simulate/simulate.ts");
			const scenario = {
				seed,
				workers,
				rate: rate ?? (0.75 * workers * 1000) / service,
				seconds,
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
			const outcome = await simulate(scenario, terminal.signal);
			terminal.print(simulationText(outcome));
			terminal.result(outcome);
			if (outcome.broken.length > 0) process.exitCode = 1;
		});
