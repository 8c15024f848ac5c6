/** Workers, readers, pool and jobs in drawn orders: whatever happens, every picture ends, once, whole. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import { poolNamed } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import type { Lease } from "../../worker/protocol/messages.ts";
import { deliver, finalEvent, health, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader, type Received, until } from "./reader.ts";

afterEach(everybodyLeaves);

const STEPS = 70;
const WORKERS = ["a", "b", "c"];
const { JOB, POOL } = env as unknown as Env;

/** Numbers from 0 up to 1 that follow from a seed (mulberry32). */
function draws(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

/** One worker's process: what it has in hand outlives its connection. */
class Worker {
	readonly name: string;
	instance = crypto.randomUUID() as string;
	peer: Peer | undefined;
	/** Leases in hand, with the next scale to deliver. */
	hand: { lease: Lease; next: number }[] = [];

	constructor(name: string) {
		this.name = name;
	}

	async dial(): Promise<void> {
		if (this.peer) return;
		const holding = this.hand.map(({ lease: { job, attempt } }) => ({ job, attempt }));
		this.peer = await Peer.join({ worker: this.name, instance: this.instance, slots: 2, holding });
		for (const { job, attempt } of holding) this.peer.jobs.set(job, attempt);
	}

	/** What came meanwhile. */
	look(): void {
		for (const message of this.peer?.inbox.splice(0) ?? []) {
			if (message.type === "lease") this.hand.push({ lease: message, next: message.codes.length });
			if (message.type === "cancel") {
				const held = this.hand.find(({ lease }) => lease.job === message.job && lease.attempt === message.attempt);
				if (held) this.release(held.lease, "done");
			}
		}
		if (this.peer?.closed) this.peer = undefined;
	}

	release(lease: Lease, outcome: "done" | "handed-back", cause?: "failed" | "preempted"): void {
		this.hand = this.hand.filter((held) => held.lease !== lease);
		if (this.peer?.jobs.get(lease.job) === lease.attempt) this.peer.release(lease, outcome, cause);
		else this.peer?.send({ type: "release", job: lease.job, attempt: lease.attempt, outcome, cause, reason: "" });
	}

	/** One more event of a picture; a picture that is finished or not wanted is let go. */
	async work(held: { lease: Lease; next: number }): Promise<void> {
		const { lease, next } = held;
		const response = await deliver(lease, next < 4 ? scaleEvent(lease, next) : finalEvent(lease));
		expect(response.status).toBe(200);
		held.next += 1;
		if (((await response.json()) as { go: string }).go === "stop") this.release(lease, "done");
	}
}

it.each([1, 2, 3, 4, 5, 6])("order %i", async (seed) => {
	const draw = draws(seed);
	const any = <T>(list: readonly T[]): T | undefined => list[Math.floor(draw() * list.length)];
	const workers = WORKERS.map((name) => new Worker(name));
	for (const worker of workers) await worker.dial();
	const logs: Promise<Received[]>[] = [];
	const did: string[] = [];
	const commands: Record<string, () => Promise<unknown> | undefined> = {
		async ask() {
			const reader = await Reader.open(`/v1/images/preview?prompt=x&cache=false&seed=${logs.length}`);
			expect([200, 503]).toContain(reader.response.status);
			if (reader.response.status === 200) logs.push(reader.rest());
			else await reader.leave();
		},
		work() {
			const worker = any(workers.filter(({ hand }) => hand.length > 0));
			return worker?.work(any(worker.hand)!);
		},
		async handBack() {
			const worker = any(workers.filter(({ hand }) => hand.length > 0));
			worker?.release(any(worker.hand)!.lease, "handed-back", draw() < 0.5 ? "failed" : "preempted");
		},
		async cut() {
			const worker = any(workers);
			worker?.peer?.cut();
			if (worker) worker.peer = undefined;
		},
		async kill() {
			const worker = any(workers);
			if (!worker) return;
			worker.peer?.cut();
			[worker.peer, worker.hand, worker.instance] = [undefined, [], crypto.randomUUID()];
		},
		dial: () => any(workers.filter(({ peer }) => !peer))?.dial(),
		// One that sleeps already cannot be put to sleep.
		sleep: () => evictDurableObject(poolNamed({ POOL }, "default") as never).catch(() => {}),
		async reset() {
			const lease = any(workers.flatMap(({ hand }) => hand))?.lease;
			if (!lease) return;
			const stub = JOB.get(JOB.idFromString(lease.job));
			await runInDurableObject(stub as never, (_, state) => state.abort("reset")).catch(() => {});
		},
		wait: () => pause(draw() * 80),
	};
	const weighted = ["ask", "work", "work", "work", "work", "work", "dial", "dial", ...Object.keys(commands)];
	for (let i = 0; i < STEPS; i++) {
		const command = any(weighted)!;
		did.push(command);
		await commands[command]();
		for (const worker of workers) worker.look();
	}

	// All that is left is done.
	let over = false;
	const all = Promise.all(logs).finally(() => (over = true));
	while (!over) {
		for (const worker of workers) {
			worker.look();
			await worker.dial();
			for (const held of [...worker.hand]) await worker.work(held);
		}
		await pause(20);
	}
	for (const events of await all) {
		const kinds = events.map(({ event, data }) => (event === "scale" ? data.index : event));
		const end = kinds.at(-1);
		expect(["final", "error"], did.join(" ")).toContain(end);
		if (end === "final") expect(kinds, did.join(" ")).toEqual(["plan", 0, 1, 2, 3, "final"]);
		else expect(["worker_lost", "deadline", "no_workers"], did.join(" ")).toContain(events.at(-1)!.data.code);
		expect(events.map(({ id }) => Number(id!.split(".")[1]))).toEqual(events.map((_, n) => n));
	}
	for (const worker of workers) worker.look();
	await until(health, ({ workers, queue }) => queue === 0 && workers.every(({ busy }) => busy === 0));
});
