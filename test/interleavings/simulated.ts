/**
 * Thousands of orders in virtual time, without workerd: `npm run test:interleavings -- --runs 5000`. One that fails is
 * cut down, and told with what plays it again: `--seed=S --path P --replay R`.
 */
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import { randomOf } from "../../infra/load/random.ts";
import { VirtualClock } from "../../infra/load/simulate/clock.ts";
import { loadEdge } from "../../infra/load/simulate/edge.ts";
import { ObjectHost, type Weather } from "../../infra/load/simulate/objects.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import type { WorkerEvent } from "../../worker/protocol/job.ts";
import type { Lease, PoolMessage } from "../../worker/protocol/messages.ts";
import { playAll } from "./commands.ts";
import type { Link, Reading, Seen, World } from "./world.ts";

const { values } = parseArgs({
	options: {
		runs: { type: "string", default: "2000" },
		seed: { type: "string" },
		path: { type: "string" },
		replay: { type: "string" },
	},
});

const { info: model } = await openModelFolder(findModel("tiny"));
const edge = await loadEdge(randomOf(1, "ids"));
const realNow = performance.now.bind(performance);
const clock = new VirtualClock();

/** The edge's own settings, where they are not production's. */
const SETTINGS = { WORKER_SECRET: "simulated-secret-0123456789", QUEUE_LIMIT: "6", STATUS_SECONDS: "0" };

interface Job {
	deliver(attempt: number, event: WorkerEvent): Promise<{ go?: "on" | "stop"; refused?: string }>;
	remove(owner: null): Promise<unknown>;
	seen(after: number): Promise<boolean | null>;
}

async function makeWorld(seed: number): Promise<World> {
	const weather: Weather = { callMs: 4, alarmLateMs: 0, alarmTwice: 0.1 };
	const host = new ObjectHost(clock, randomOf(seed, "weather"), weather);
	Object.assign(host.env, SETTINGS);
	host.bind("POOL", edge.Pool);
	host.bind("JOB", edge.Job);
	const links = new Set<Link>();
	const readings = new Set<Reading>();
	/** Time goes on until it is answered. */
	const through = async <T>(promise: Promise<T>): Promise<T> => {
		let over = false;
		const end = promise.finally(() => (over = true));
		end.catch(() => {});
		while (!over) await clock.runTo(clock.now + 1);
		return await end;
	};
	const job = (id: string) => (host.env.JOB as { get(id: object): Job }).get({ toString: () => id });
	const read = (id: string, after: number): Reading => {
		const leaving = new AbortController();
		const events: Seen[] = [];
		const reading = {
			job: id,
			events,
			ended: false,
			gone: false,
			leave: async () => leaving.abort(),
		};
		void (async () => {
			for await (const row of edge.follow(host.env, id, after, leaving.signal))
				if (row) events.push({ n: row.n, type: row.type, json: JSON.parse(row.json) });
			reading.ended = !leaving.signal.aborted;
		})().catch((error: { code?: string }) => {
			if (error.code === "job_not_found") reading.ended = reading.gone = true;
			else host.errors.push(String(error));
		});
		readings.add(reading);
		return reading;
	};
	return {
		model,
		times: { heartbeat: 10_000, grace: 4000, deadline: 600_000 },
		async dial(worker) {
			const socket = await through(host.dial("POOL", "default", worker));
			const inbox: PoolMessage[] = [];
			socket.onmessage = (data) => inbox.push(JSON.parse(data));
			const link: Link = {
				get open() {
					return socket.readyState === 1;
				},
				take: () => inbox.splice(0),
				send: (message) => socket.readyState === 1 && socket.send(JSON.stringify(message)),
				cut: () => socket.close(),
				leave: () => socket.close(1000),
			};
			links.add(link);
			return link;
		},
		async ask(seed) {
			const format = { type: "webp", quality: 90 };
			const caller = { owner: null, scopes: [], admitted: null, traceparent: "", requestId: "" };
			const wish = { prompt: "a photo", policy: "exact", seed, previews: "all", format };
			const start = async () => {
				const { input } = await edge.orderOf(host.env, wish, { caller }, edge.warnings());
				return await edge.startJob(host.env, input);
			};
			try {
				return read(await through(start()), -1);
			} catch (error) {
				if ((error as { status?: number }).status === 503) return null;
				throw error;
			}
		},
		async resume(id, after) {
			return (await through(job(id).seen(after))) === null ? null : read(id, after);
		},
		async cancel(id) {
			await through(job(id).remove(null));
		},
		scale: ({ request: { plan, seed } }, index) => {
			const runs = plan.steps.flatMap(({ kind }, i) => (kind === "run" ? [i] : []));
			const [height, width] = model.schedules[plan.schedule].grids[index];
			const codes = Buffer.alloc(Math.ceil((height * width * model.bitsPerToken) / 8), `${seed} ${index}`);
			return {
				type: "scale",
				index,
				grid: [height, width],
				stage: "semantic",
				step: runs.indexOf(index) + 1,
				steps: runs.length,
				milliseconds: 1,
				codes: codes.toString("base64"),
				mime: "image/webp",
				base64: "AAAA",
			};
		},
		final: ({ request: { plan, seed } }: Lease) => ({
			type: "final",
			seed,
			...model.schedules[plan.schedule].image,
			milliseconds: 1,
			mime: "image/webp",
			base64: "AAAA",
			sha256: createHash("sha256").update(String(seed)).digest("hex"),
			digest: model.digest,
			numerics: "numerics-1",
			adapter: "simulated",
		}),
		async deliver({ job: id, attempt }, event) {
			return (await through(job(id).deliver(attempt, event))).go ?? "refused";
		},
		async lose({ job: id, attempt }, event) {
			host.evictAtWrite("JOB", id, true);
			try {
				return (await through(job(id).deliver(attempt, event))).go ?? "refused";
			} catch {
				return "lost";
			} finally {
				host.evictAtWrite("JOB", id, false);
			}
		},
		async evict(id) {
			host.evict(id === null ? "POOL" : "JOB", id ?? "default");
		},
		async ring(id) {
			const object = host.instance(id === null ? "POOL" : "JOB", id ?? "default");
			await through((object.alarm as () => Promise<void>)());
		},
		late: (milliseconds) => {
			weather.alarmLateMs = milliseconds;
		},
		wait: (milliseconds) => clock.runTo(clock.now + milliseconds),
		status: () => through((host.instance("POOL", "default").status as World["status"])()),
		now: () => clock.now,
		async close() {
			for (const reading of readings) await reading.leave();
			for (const link of links) link.leave();
			// What is kept for an hour is deleted, and no timer of this world is left for the next one.
			await clock.runTo(clock.now + 2 * 3_600_000);
			if (host.errors.length > 0) throw new Error(`thrown by an object: ${host.errors[0]}`);
		},
	};
}

const quiet = console.log;
console.log = () => {};
let made = 0;
const begun = realNow();
try {
	await playAll(() => makeWorld(++made), {
		runs: Number(values.runs),
		patience: 40_000,
		...(values.seed !== undefined && { seed: Number(values.seed) }),
		...(values.path !== undefined && { path: values.path }),
		...(values.replay !== undefined && { replayPath: values.replay }),
	});
	quiet(
		`${values.runs} orders in ${((realNow() - begun) / 1000).toFixed(0)} s: nothing lost, repeated or left behind.`,
	);
} catch (error) {
	console.error((error as Error).message);
	process.exitCode = 1;
}
