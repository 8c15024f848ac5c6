/** From a worker's send to a client's receive: a real worker of this process, a real client, an edge between them. */
import { setTimeout as sleep } from "node:timers/promises";
import { getGlobalDispatcher, setGlobalDispatcher } from "undici";
import { readSettings } from "../../../worker/gpu/settings.ts";
import { GpuWorker } from "../../../worker/gpu/worker.ts";
import { follow } from "../../../worker/protocol/client.ts";
import type { OwnEdge } from "./own-edge.ts";

/** Milliseconds of each scale, pictures asked for one after the other with `pauseMs` between them. */
export async function delays({ url, secret }: OwnEdge, pictures: number, pauseMs: number): Promise<number[]> {
	const settings = { EDGE_URL: url, WORKER_SECRET: secret, MODELS: "tiny", WORKER_ID: "delay" };
	const sent = new Map<number, number>();
	const before = getGlobalDispatcher();
	// What the worker sends goes through here, as it is sent.
	setGlobalDispatcher(
		before.compose((dispatch) => (options, handler) => {
			if (options.method === "POST" && options.path.includes("/internal/jobs/")) {
				const { type, index } = JSON.parse(String(options.body)) as { type: string; index: number };
				if (type === "scale") sent.set(index, performance.now());
			}
			return dispatch(options, handler);
		}),
	);
	const admitted = Promise.withResolvers<void>();
	const worker = await GpuWorker.start(
		readSettings(settings),
		(line) => line.includes("admitted") && admitted.resolve(),
	);
	const found: number[] = [];
	try {
		await admitted.promise;
		// The first ones find nothing warm.
		for (let i = -3; i < pictures; i++) {
			sent.clear();
			for await (const event of follow({ prompt: "a cat", model: "tiny", seed: i + 3 }, { url })) {
				if (event.type !== "scale" || i < 0) continue;
				found.push(performance.now() - (sent.get(event.index) as number));
			}
			await sleep(pauseMs);
		}
	} finally {
		setGlobalDispatcher(before);
		await worker.drain();
	}
	return found;
}
