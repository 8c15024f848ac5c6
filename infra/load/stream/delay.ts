/** From a worker's send to a client's receive: a real worker of this process, a real client, an edge between them. */
import { setTimeout as sleep } from "node:timers/promises";
import { readSettings } from "../../../worker/gpu/settings.ts";
import { GpuWorker } from "../../../worker/gpu/worker.ts";
import { follow } from "../../../worker/protocol/client.ts";
import type { OwnEdge } from "./own-edge.ts";

/** Milliseconds of each scale, pictures asked for one after the other with `pauseMs` between them. */
export async function delays({ url, secret }: OwnEdge, pictures: number, pauseMs: number): Promise<number[]> {
	const settings = { EDGE_URL: url, WORKER_SECRET: secret, MODELS: "tiny", WORKER_ID: "delay" };
	const sent = new Map<number, number>();
	const { fetch } = globalThis;
	globalThis.fetch = async (input, init) => {
		if (init?.method === "POST" && String(input).includes("/internal/jobs/")) {
			const { type, index } = JSON.parse(String(init.body)) as { type: string; index: number };
			if (type === "scale") sent.set(index, performance.now());
		}
		return fetch(input, init);
	};
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
			for await (const event of follow({ prompt: "a cat", model: "tiny", seed: i + 3 }, { url, fetch })) {
				if (event.type !== "scale" || i < 0) continue;
				found.push(performance.now() - (sent.get(event.index) as number));
			}
			await sleep(pauseMs);
		}
	} finally {
		globalThis.fetch = fetch;
		await worker.drain();
	}
	return found;
}
