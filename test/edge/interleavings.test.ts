/**
 * Workers, readers, pool and jobs in drawn orders, in workerd: whatever happens, every picture ends, once, whole. What
 * can happen is in test/interleavings, where the same is played by thousands in virtual time. ORDERS=300 plays more.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { poolNamed } from "../../worker/edge/objects.ts";
import { type Env, settingsOf } from "../../worker/edge/settings.ts";
import { playAll } from "../interleavings/commands.ts";
import type { Reading, Seen, World } from "../interleavings/world.ts";
import { diesAtWrite, lives } from "./dying.ts";
import { deliver, edge, finalEvent, MODEL, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader } from "./reader.ts";

const { JOB, POOL, ORDERS } = env as unknown as Env;
const settings = settingsOf(env as unknown as Env);
const stubOf = (job: string | null) =>
	(job === null ? poolNamed({ POOL }, "default") : JOB.get(JOB.idFromString(job))) as never;

/** Null where the edge has none. */
async function read(query: string): Promise<Reading | null> {
	const reader = await Reader.open(`/v1/images/preview?${query}`);
	const first = reader.response.status === 200 ? await reader.next() : null;
	if (!first) {
		expect([200, 204, 404, 503]).toContain(reader.response.status);
		await reader.leave();
		return null;
	}
	const events: Seen[] = [];
	const add = ({ event, id, data }: typeof first) =>
		events.push({ n: Number(id!.split(".")[1]), type: event, json: data });
	add(first);
	const reading = { job: first.id!.split(".")[0], events, ended: false, leave: () => reader.leave() };
	void (async () => {
		for (let event = await reader.next(); event; event = await reader.next()) add(event);
		reading.ended = true;
	})().catch(() => {});
	return reading;
}

async function makeWorld(): Promise<World> {
	return {
		model: MODEL,
		times: {
			heartbeat: settings.HEARTBEAT_SECONDS * 1000,
			grace: settings.READER_GRACE_SECONDS * 1000,
			deadline: settings.JOB_DEADLINE_SECONDS * 1000,
		},
		async dial(worker) {
			const peer = await Peer.dial({ worker });
			return {
				get open() {
					return peer.closed === null;
				},
				take: () => peer.inbox.splice(0),
				send: (message) => peer.send(message),
				cut: () => peer.cut(),
				leave: () => peer.leave(),
			};
		},
		ask: (seed) => read(`prompt=x&cache=false&seed=${seed}`),
		resume: (job, after) => read(`lastEventId=${job}.${after}`),
		async cancel(job) {
			await edge(`/v1/jobs/${job}`, { method: "DELETE" });
		},
		scale: scaleEvent,
		final: (lease) => finalEvent(lease),
		async deliver(lease, event) {
			const response = await deliver(lease, event);
			if (response.status === 400) return "refused";
			expect(response.status).toBe(200);
			return ((await response.json()) as { go: "on" | "stop" }).go;
		},
		async lose(lease, event) {
			await diesAtWrite(lease.job);
			const response = await deliver(lease, event);
			await lives(lease.job);
			if (response.status >= 500) return "lost";
			return response.status === 400 ? "refused" : ((await response.json()) as { go: "on" | "stop" }).go;
		},
		// One that sleeps already cannot be put to sleep.
		evict: (job) => evictDurableObject(stubOf(job)).catch(() => {}),
		ring: (job) => runInDurableObject(stubOf(job), (object: { alarm(): Promise<void> }) => object.alarm()),
		late() {},
		wait: pause,
		status: () => poolNamed({ POOL }, "default").status(),
		now: () => Date.now(),
		close: everybodyLeaves,
	};
}

it("every picture ends, once, whole", async () => {
	await playAll(makeWorld, { runs: Number(ORDERS), patience: 400 });
}, 3_600_000);
