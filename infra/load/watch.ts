/** Looks at the edge's health while a run goes on: what it works on beside what the run still waits for. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { under } from "../../worker/protocol/client.ts";
import type { Target } from "./send.ts";

export interface HealthSample {
	at: number;
	/** Pictures in workers' hands, and waiting. */
	busy: number;
	queue: number;
	slots: number;
	workers: number;
}

export interface Versions {
	adapters: string[];
	models: { id: string; digest: string }[];
}

const Health = z.object({
	workers: z.array(z.object({ adapter: z.string(), busy: z.number(), slots: z.number() })),
	queue: z.number(),
});
const Models = z.object({ data: z.array(z.object({ id: z.string(), digest: z.string() })) });

const EVERY_MS = 250;

export class Watch {
	readonly samples: HealthSample[] = [];
	#stopping = new AbortController();
	#done: Promise<void>;

	constructor(target: Target, clock: () => number) {
		this.#done = this.#look(target, clock);
	}

	async stop(): Promise<void> {
		this.#stopping.abort();
		await this.#done;
	}

	/** A target without such a route is not looked at. */
	async #look(target: Target, clock: () => number): Promise<void> {
		const { signal } = this.#stopping;
		while (!signal.aborted) {
			try {
				const health = await healthOf(target, signal);
				if (health !== null) this.samples.push(sampleOf(health, clock()));
				else if (this.samples.length === 0) return;
			} catch {
				// It may be away for a moment, or a proxy answers in its place; a hole in the series says so.
			}
			await sleep(EVERY_MS, undefined, { signal }).catch(() => {});
		}
	}
}

function sampleOf({ workers, queue }: z.infer<typeof Health>, at: number): HealthSample {
	const sum = (of: "busy" | "slots") => workers.reduce((total, worker) => total + worker[of], 0);
	return { at, busy: sum("busy"), queue, slots: sum("slots"), workers: workers.length };
}

async function healthOf({ url, keys }: Target, signal: AbortSignal): Promise<z.infer<typeof Health> | null> {
	const answer = await fetch(under(url, "healthz"), { headers: authorization(keys), signal });
	const parsed = Health.safeParse(await answer.json().catch(() => null));
	return parsed.success ? parsed.data : null;
}

/** What serves: adapters and model digests, where the target tells. */
export async function versionsOf({ url, keys }: Target, signal: AbortSignal): Promise<Versions> {
	const health = await healthOf({ url, keys, timeoutMs: 0 }, signal).catch(() => null);
	const models = await fetch(under(url, "v1/models"), { headers: authorization(keys), signal })
		.then(async (answer) => Models.safeParse(await answer.json()))
		.catch(() => null);
	return {
		adapters: [...new Set(health?.workers.map(({ adapter }) => adapter))],
		models: models?.success ? models.data.data.map(({ id, digest }) => ({ id, digest })) : [],
	};
}

const authorization = (keys: Target["keys"]): Record<string, string> =>
	keys[""] === undefined ? {} : { authorization: `Bearer ${keys[""]}` };
