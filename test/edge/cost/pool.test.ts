/** Calls of a pool with a thousand workers, four slots each, all of them taken. */
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { poolNamed } from "../../../worker/edge/objects.ts";
import type { Env } from "../../../worker/edge/settings.ts";
import { policies } from "../../../worker/policies/index.ts";
import { MODEL, Peer, peersLeave } from "../peer.ts";

const WORKERS = 1000;
const SLOTS = 4;
const TIMES = 60;
/** What a call may take, from the caller and back. */
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

/** The time of a call, machine's noise left out: a quarter of the calls are no slower. */
async function time(call: (i: number) => Promise<unknown>): Promise<number> {
	const times: number[] = [];
	for (let i = 0; i < TIMES; i++) {
		const begun = performance.now();
		await call(i);
		times.push(performance.now() - begun);
	}
	return times.sort((a, b) => a - b)[TIMES >> 2];
}

it(`takes less than ${MOST_MS} ms a call with ${WORKERS} workers, idle and busy`, async () => {
	const figures: Record<string, number> = {};
	const measure = async (name: string) => {
		const ids = await newJobs(2 * TIMES);
		figures[`${name}: offer`] = await time(() => pool.offer());
		figures[`${name}: enqueue`] = await time((i) => pool.enqueue([ids[i]], MODEL.digest));
		figures[`${name}: cancel`] = await time((i) => pool.cancel(ids[i]));
		figures[`${name}: no job`] = await time((i) => pool.stalled(ids[TIMES + i], 1));
	};
	for (let i = 0; i < WORKERS; i += 50)
		await Promise.all(
			Array.from({ length: 50 }, async (_, j) => {
				const peer = await Peer.dial({ worker: `w${i + j}`, slots: SLOTS });
				peer.send(peer.hello());
				await peer.next("welcome", 60_000);
			}),
		);
	await measure("idle");
	for (let i = 0; i < WORKERS * SLOTS; i += 100) await pool.enqueue(await newJobs(100), MODEL.digest);
	const busy = async () => (await pool.status()).workers.reduce((sum, { busy }) => sum + busy, 0);
	while ((await busy()) < WORKERS * SLOTS) await new Promise((resolve) => setTimeout(resolve, 200));
	await measure("full");
	console.log(
		Object.entries(figures)
			.map(([name, ms]) => `${name} ${ms.toFixed(2)} ms`)
			.join("\n"),
	);
	peersLeave();
	expect(Object.entries(figures).filter(([, ms]) => ms > MOST_MS)).toEqual([]);
});
