/**
 * Calls of a pool with thousands of workers, idle and with four thousand leases. Each number of workers is a file of
 * its own, and so has a workerd of its own: every job's object holds three files open there until it is evicted, and
 * one that may open twenty thousand says "internal error" at the next.
 */
import { env } from "cloudflare:workers";
import { expect } from "vitest";
import { poolNamed } from "../../../worker/edge/objects.ts";
import type { Env } from "../../../worker/edge/settings.ts";
import { policies } from "../../../worker/policies/index.ts";
import { MODEL, Peer } from "../peer.ts";
import { everybodyLeaves, pause } from "../reader.ts";

const LEASES = 4000;
const TIMES = 60;
/** Where others compute on the same cores a call may have to wait for one, 4 ms at a time: the middle round counts. */
const ROUNDS = 5;
/** What a call takes less than, from the caller and back. */
const MOST_MS = 2;

const { JOB, POOL } = env as unknown as Env;
const pool = poolNamed({ POOL }, "default");

async function newJobs(count: number): Promise<string[]> {
	const { grids, image } = MODEL.schedules["1:1"];
	const plan = policies.exact.plan(MODEL, {});
	const ids = Array.from({ length: count }, () => JOB.newUniqueId());
	await Promise.all(
		ids.map((id) =>
			JOB.get(id).create({
				request: {
					model: MODEL.id,
					prompt: "x",
					seed: 1,
					plan,
					previews: "none",
					format: { type: "png", quality: 90 },
				},
				owner: null,
				pool: "default",
				bitsPerToken: MODEL.bitsPerToken,
				event: { model: MODEL.id, policy: "exact", seed: 1, ...image, plan, grids },
			}),
		),
	);
	return ids.map(String);
}

/** Out of the books, and nothing left of them: nobody would come for them. */
async function forgotten(ids: readonly string[]): Promise<void> {
	for (let i = 0; i < ids.length; i += 100)
		await Promise.all(
			ids.slice(i, i + 100).map(async (id) => {
				await pool.cancel(id);
				await JOB.get(JOB.idFromString(id)).discard();
			}),
		);
}

interface Times {
	median: number;
	p95: number;
}

/** Of calls one by one; `settled`: what the one before set going has come to its end. */
async function time(call: (i: number) => Promise<unknown>, settled = async (_: number) => {}): Promise<Times> {
	const times: number[] = [];
	for (let i = 0; i < TIMES; i++) {
		const begun = performance.now();
		await call(i);
		times.push(performance.now() - begun);
		await settled(i);
	}
	times.sort((a, b) => a - b);
	return { median: times[TIMES >> 1], p95: times[Math.floor(0.95 * TIMES)] };
}

/** A call takes less than `MOST_MS`, whatever the pool has to do. */
export async function measureCalls(workers: number): Promise<void> {
	const slots = LEASES / workers;
	const rounds: Record<string, Times[]> = {};
	const made: string[] = [];
	const peers: Peer[] = [];
	const round = async (name: "idle" | "full") => {
		const note = (call: string, times: Times) => (rounds[`${name}: ${call}`] ??= []).push(times);
		const ids = await newJobs(TIMES);
		const unknown = JOB.newUniqueId().toString();
		made.push(...ids);
		note("offer", await time(() => pool.offer()));
		// Its job's lease and the worker that takes it run on the pool's own thread here.
		const leased = async (i: number) => {
			while (name === "idle" && !peers.some(({ jobs }) => jobs.has(ids[i]))) await pool.offer();
		};
		note("enqueue", await time((i) => pool.enqueue([ids[i]], MODEL.digest), leased));
		note("cancel", await time((i) => pool.cancel(ids[i])));
		note("no job", await time(() => pool.stalled(unknown, 1)));
	};
	const measure = async (name: "idle" | "full") => {
		for (let i = 0; i < ROUNDS; i++) await round(name);
	};
	for (let i = 0; i < workers; i += 50)
		await Promise.all(
			Array.from({ length: 50 }, async (_, j) => {
				const peer = await Peer.dial({ worker: `w${i + j}`, slots });
				peer.send(peer.hello());
				await peer.next("welcome", 60_000);
				peers.push(peer);
			}),
		);
	await measure("idle");
	for (let i = 0; i < LEASES; i += 100) {
		const ids = await newJobs(100);
		made.push(...ids);
		await pool.enqueue(ids, MODEL.digest);
	}
	const busy = async () => (await pool.status()).workers.reduce((sum, { busy }) => sum + busy, 0);
	while ((await busy()) < LEASES) await pause(200);
	await measure("full");
	console.log(
		[`${workers} workers, ${slots} slots each, ms (median, p95), ${ROUNDS} rounds`]
			.concat(
				Object.entries(rounds).map(
					([name, all]) =>
						`${name}: ${all.map(({ median, p95 }) => `${median.toFixed(2)} ${p95.toFixed(2)}`).join(", ")}`,
				),
			)
			.join("\n"),
	);
	await forgotten(made);
	await everybodyLeaves();
	const middle = (all: readonly Times[]) => all.map(({ median }) => median).sort((a, b) => a - b)[ROUNDS >> 1];
	const slow = Object.entries(rounds).filter(([, all]) => middle(all) >= MOST_MS);
	expect(slow).toEqual([]);
}
