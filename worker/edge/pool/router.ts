/**
 * Several pools as one: workers find theirs by region and models, pictures go to the nearest that has room, and among
 * equals to the one with least to do. What the pools have is not older than a moment.
 */

import type { PoolPlace } from "../../protocol/operator-settings.ts";
import { log } from "../log.ts";
import { type Offered, type PoolObject, type PoolOffer, type PoolStatus, poolNamed } from "../objects.ts";
import { type Env, settingsOf } from "../settings.ts";

/** A pool, and what it offered when it was asked last. Its `load` grows by what it was given since. */
interface Known extends PoolPlace {
	offer: PoolOffer;
}
interface Snapshot {
	at: number;
	pools: Known[];
}
/** Settled ones alone: a request that waits for another's work waits for ever where that one's caller has left. */
const snapshots = new WeakMap<Env, Snapshot>();

/** Of all pools that answer: a region that fails takes its own pictures along, not those of the others. */
async function snapshotOf(env: Env, newest: boolean): Promise<Snapshot> {
	const { POOLS, STATUS_SECONDS, RETURN_SECONDS } = settingsOf(env);
	// Where there is one pool, its workers are waited for that are about to come back.
	const patience = POOLS.length === 1 ? RETURN_SECONDS : 0;
	const now = Date.now();
	const kept = snapshots.get(env);
	if (kept && POOLS.length > 1 && !newest && now - kept.at < STATUS_SECONDS * 1000) return kept;
	const pools = await Promise.all(
		POOLS.map(async (place): Promise<Known[]> => {
			try {
				return [{ ...place, offer: await poolNamed(env, place.name).offer(patience) }];
			} catch (error) {
				if (POOLS.length === 1) throw error;
				log("pool not reached", { pool: place.name, message: String(error) });
				return [];
			}
		}),
	);
	const made = { at: now, pools: pools.flat() };
	snapshots.set(env, made);
	return made;
}

/**
 * What all pools offer together. An offer of several pools may be a moment old; `enough` says whether it will do, and
 * where it will not they are asked anew.
 */
export async function offerOf(env: Env, enough: (offer: PoolOffer) => boolean): Promise<PoolOffer> {
	const offer = together((await snapshotOf(env, false)).pools);
	if (settingsOf(env).POOLS.length === 1 || enough(offer)) return offer;
	return together((await snapshotOf(env, true)).pools);
}

/** Pools that offer a model, the best one first: those with room, then the nearest, then the one with least to do. */
export async function poolsFor(env: Env, digest: string, continent: string | undefined): Promise<string[]> {
	const { POOLS } = settingsOf(env);
	if (POOLS.length === 1) return [POOLS[0].name];
	const { pools } = await snapshotOf(env, false);
	const slots = ({ offer }: Known) => versionIn(offer, digest)?.slots ?? 0;
	const ranked = pools
		.filter((pool) => slots(pool) > 0)
		.map((pool) => ({
			name: pool.name,
			full: versionIn(pool.offer, digest)?.room ? 0 : 1,
			far: near(pool, continent) ? 0 : 1,
			depth: pool.offer.load / slots(pool),
		}));
	return ranked.sort((a, b) => a.full - b.full || a.far - b.far || a.depth - b.depth).map(({ name }) => name);
}

/** A pool was given so many jobs: until it is asked again, it has as many more to do. */
export function given(env: Env, name: string, jobs: number): void {
	const pool = snapshots.get(env)?.pools.find((pool) => pool.name === name);
	if (pool) pool.offer.load += jobs;
}

/** Where a worker belongs, the same at every dial: one of those for its region and models, by its name. */
export function poolOfWorker(
	env: Env,
	{ worker, region, models }: { worker: string; region?: string; models: readonly string[] },
): string | null {
	const { POOLS } = settingsOf(env);
	const fit = POOLS.filter((pool) => !pool.models || models.every((model) => pool.models?.includes(model)));
	const close = fit.filter((pool) => near(pool, region));
	const among = close.length > 0 ? close : fit;
	// Rendezvous hashing: a pool more or less moves the workers of that one alone.
	const weights = among.map(({ name }) => hash(`${worker} ${name}`));
	return among[weights.indexOf(Math.max(...weights))]?.name ?? null;
}

/** What all pools answer that can be reached: one that fails takes its own answer along. Throws where none does. */
export async function answersOf<T>(env: Env, ask: (pool: DurableObjectStub<PoolObject>) => Promise<T>): Promise<T[]> {
	const { POOLS } = settingsOf(env);
	const asked = await Promise.allSettled(POOLS.map(async ({ name }) => ask(poolNamed(env, name))));
	const answers = asked.flatMap((each, i) => {
		if (each.status === "fulfilled") return [each.value];
		log("pool not reached", { pool: POOLS[i].name, message: String(each.reason) });
		return [];
	});
	if (answers.length === 0) throw (asked[0] as PromiseRejectedResult).reason;
	return answers;
}

export async function statusOfAll(env: Env): Promise<PoolStatus> {
	const answered = await answersOf(env, (pool) => pool.status());
	return {
		...together(answered.map((offer) => ({ offer }))),
		workers: answered.flatMap(({ workers }) => workers),
		loading: answered.flatMap(({ loading }) => loading),
	};
}

function together(pools: readonly { offer: PoolOffer }[]): PoolOffer {
	const models = new Map<string, PoolOffer["models"][number]>();
	for (const { versions } of pools.flatMap(({ offer }) => offer.models)) {
		for (const version of versions) {
			const { info, since } = version;
			const model = models.get(info.id);
			if (!model) {
				models.set(info.id, { info, since, versions: [version] });
				continue;
			}
			const at = model.versions.findIndex((other) => other.info.digest === info.digest);
			if (at === -1) model.versions.push(version);
			else {
				model.versions[at] = both(model.versions[at], version);
			}
			if (since < model.since) [model.since, model.info] = [since, info];
		}
	}
	return {
		models: [...models.values()],
		queue: pools.reduce((sum, { offer }) => sum + offer.queue, 0),
		load: pools.reduce((sum, { offer }) => sum + offer.load, 0),
	};
}

/** One version in two pools. A new job goes where it begins soonest. */
function both(a: Offered, b: Offered): Offered {
	const sooner = (b.waitMs ?? Number.POSITIVE_INFINITY) < (a.waitMs ?? Number.POSITIVE_INFINITY) ? b : a;
	return {
		info: a.info,
		since: Math.min(a.since, b.since),
		slots: a.slots + b.slots,
		numerics: [...new Set([...a.numerics, ...b.numerics])],
		waiting: a.waiting + b.waiting,
		free: a.free + b.free,
		waitMs: sooner.waitMs,
		nextMs: a.nextMs === null || b.nextMs === null ? (a.nextMs ?? b.nextMs) : Math.min(a.nextMs, b.nextMs),
		pace: sooner.pace ?? a.pace ?? b.pace,
		queued: a.queued + b.queued,
		places: a.places + b.places,
		room: a.room || b.room,
	};
}

const versionIn = ({ models }: PoolOffer, digest: string) =>
	models.flatMap(({ versions }) => versions).find(({ info }) => info.digest === digest);

const near = ({ near }: PoolPlace, place: string | undefined): boolean => place !== undefined && near.includes(place);

/** FNV-1a. */
function hash(text: string): number {
	let sum = 0x811c_9dc5;
	for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x0100_0193);
	return sum >>> 0;
}
