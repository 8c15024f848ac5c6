/** Jobs whose own workers are away, by the books alone: who is asked, and what nobody gets meanwhile. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { Ledger } from "../../worker/edge/pool/ledger.ts";
import type { Offers } from "../../worker/edge/pool/offer.ts";
import { Orphans } from "../../worker/edge/pool/orphans.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { MODEL } from "./peer.ts";

const NEWER = { ...MODEL, digest: `sha256:${"d4".repeat(32)}` };
const JOB = "a".repeat(64);

/** One job that waits for `MODEL` and needs `png`; `able`: who can do that. */
async function orphaned(
	able: Set<string>,
	replan: (ledger: Ledger) => Promise<string[] | null>,
	look: (orphans: Orphans, ledger: Ledger) => Promise<void>,
): Promise<void> {
	const { POOL } = env as unknown as Env;
	await runInDurableObject(POOL.get(POOL.newUniqueId()) as never, async (_, { storage }) => {
		const ledger = new Ledger(storage.sql);
		const by = { cost: 0, needs: ["png"], owner: null, weight: 1 };
		ledger.enqueue([JOB], { digest: MODEL.digest, model: MODEL.id, ...by });
		const versions = () => [MODEL, NEWER].map((info) => ({ info, since: 1, slots: 1, numerics: ["n"] }));
		const offers = { versions, able: (digest: string) => able.has(digest) } as unknown as Offers;
		const jobs = {
			idFromString: (id: string) => id,
			get: () => ({ replan: () => replan(ledger), fail: async () => {} }),
		};
		await look(new Orphans(ledger, offers, { ...(env as object), JOB: jobs } as never), ledger);
	});
}

it("a job is nobody's while it is planned anew, and then the other version's", async () => {
	let asked = 0;
	const replan = async (ledger: Ledger) => {
		asked++;
		expect([...ledger.moving]).toEqual([JOB]);
		return ["png"];
	};
	await orphaned(new Set([NEWER.digest]), replan, async (orphans, ledger) => {
		const found = await Promise.all([orphans.look(1), orphans.look(1)]);
		expect(found.flatMap((digests) => [...digests])).toEqual([NEWER.digest]);
		expect([asked, ledger.moving.size, ledger.get(JOB)?.digest]).toEqual([1, 0, NEWER.digest]);
	});
});

it("what was begun stays with its version, and is given at once where that is back by the answer", async () => {
	const able = new Set([NEWER.digest]);
	const replan = async () => {
		able.add(MODEL.digest);
		return null;
	};
	await orphaned(able, replan, async (orphans, ledger) => {
		expect([...(await orphans.look(1))]).toEqual([MODEL.digest]);
		expect([ledger.moving.size, ledger.get(JOB)?.digest]).toEqual([0, MODEL.digest]);
	});
});

it("a job does not go to a version that nobody makes what it needs of, and back: its time runs", async () => {
	const replan = async (): Promise<never> => {
		throw new Error("asked in vain");
	};
	await orphaned(new Set(), replan, async (orphans, ledger) => {
		for (const now of [1, 2]) expect([...(await orphans.look(now))]).toEqual([]);
		expect(ledger.get(JOB)).toMatchObject({ digest: MODEL.digest, orphaned: 1 });
		await orphans.look(1e9);
		expect(ledger.get(JOB)).toBeUndefined();
	});
});
