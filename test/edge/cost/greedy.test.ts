/** Two keys, of which one has five hundred pictures waiting: what that costs the other, over the real edge. */
import { env } from "cloudflare:workers";
import { afterAll, expect, it } from "vitest";
import app from "../../../worker/edge/index.ts";
import type { Env } from "../../../worker/edge/settings.ts";
import { ADMIN, delivered, finalEvent, Peer, runs, scaleEvent } from "../peer.ts";
import { everybodyLeaves, pause, Reader } from "../reader.ts";

afterAll(everybodyLeaves);

const settings = { ...(env as unknown as Env), API_KEYS: "required", ADMIN_SECRET: ADMIN };
const ask = (path: string, key: string, body?: object, method = body ? "POST" : "GET"): Promise<Response> =>
	Promise.resolve(
		app.fetch(
			new Request(`https://edge.example${path}`, {
				method,
				headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
				...(body && { body: JSON.stringify(body) }),
			}),
			settings as never,
		),
	);
const mint = async (name: string) => {
	const limits = { per_minute: 10_000, concurrent: 1000 };
	const { key } = (await (await ask("/v1/admin/keys", ADMIN, { name, limits })).json()) as { key: string };
	return key;
};

/** A worker whose every picture takes so long, until it is stopped. */
async function steady(milliseconds: number): Promise<() => void> {
	const peer = await Peer.join();
	let stopped = false;
	void (async () => {
		while (!stopped) {
			const lease = await peer.next("lease", 1000).catch(() => null);
			if (!lease) continue;
			await pause(milliseconds);
			for (const index of runs(lease)) if ((await delivered(lease, scaleEvent(lease, index))).go === "stop") break;
			await delivered(lease, finalEvent(lease));
			peer.release(lease);
		}
	})();
	return () => (stopped = true);
}

it("the other's wait at most doubles", async () => {
	const [greedy, modest] = [await mint("greedy"), await mint("modest")];
	const stop = await steady(100);
	const times = async (count: number) => {
		const taken: number[] = [];
		for (let i = 0; i < count; i++) {
			const begun = performance.now();
			const answer = await ask("/v1/images/generations", modest, { prompt: "x" });
			expect(answer.status).toBe(200);
			await answer.arrayBuffer();
			taken.push(performance.now() - begun);
			await pause(30);
		}
		return taken.sort((a, b) => a - b)[count >> 1];
	};
	await times(3);
	const alone = await times(15);
	const readers: Reader[] = [];
	for (let i = 0; i < 500; i += 20) {
		const answers = Array.from({ length: 20 }, () => ask("/v1/images/preview?prompt=x", greedy));
		readers.push(...(await Promise.all(answers)).map((answer) => new Reader(answer)));
	}
	expect(readers.filter(({ response }) => response.status === 200)).toHaveLength(500);
	const beside = await times(15);
	console.log(`alone ${alone.toFixed(0)} ms, beside five hundred ${beside.toFixed(0)} ms`);
	stop();
	// Nobody is missed here for a long time: who leaves cancels.
	for (const reader of readers) {
		const job = (await reader.next())?.data.job;
		await reader.leave();
		expect((await ask(`/v1/jobs/${job}`, greedy, undefined, "DELETE")).ok).toBe(true);
	}
	expect(beside).toBeLessThanOrEqual(2 * alone);
});
