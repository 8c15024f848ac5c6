/** From a worker's send to a client's receive: a real worker, started as `npm start` does, an edge, a real client. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { follow } from "../../../worker/protocol/client.ts";
import { giveWay } from "../../start/give-way.ts";
import type { OwnEdge } from "./own-edge.ts";
import type { Sent } from "./timed-worker.ts";

/** Milliseconds of each scale, pictures asked for one after the other with `pauseMs` between them. */
export async function delays({ url, secret }: OwnEdge, pictures: number, pauseMs: number): Promise<number[]> {
	let told = Promise.withResolvers<Sent>();
	const worker = spawn(process.execPath, [join(import.meta.dirname, "timed-worker.ts")], {
		env: { ...process.env, EDGE_URL: url, WORKER_SECRET: secret, MODELS: "tiny", WORKER_ID: "delay" },
		stdio: ["ignore", "ignore", "inherit", "ipc"],
		detached: true,
	}).on("message", (sent) => told.resolve(sent as Sent));
	const gone = once(worker, "exit");
	await giveWay(worker.pid as number);
	const found: number[] = [];
	try {
		while (!(await fetch(`${url}/healthz`)).ok) {
			if (worker.exitCode !== null) throw new Error(`the worker ended with ${worker.exitCode}`);
			await sleep(200);
		}
		// The first ones find nothing warm.
		for (let i = -3; i < pictures; i++) {
			const came = new Map<number, number>();
			told = Promise.withResolvers();
			for await (const event of follow({ prompt: "a cat", model: "tiny", seed: i + 3 }, { url }))
				if (event.type === "scale") came.set(event.index, Number(process.hrtime.bigint()) / 1e6);
			for (const [index, at] of await told.promise) if (i >= 0) found.push((came.get(index) as number) - at);
			await sleep(pauseMs);
		}
	} finally {
		worker.kill();
		await gone;
	}
	return found;
}
