/** Whose turn it is, and what one may take: pure functions, over thousands of drawn cases where that tells more. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { later, leftOf, nothingTaken, spend, take } from "../../worker/edge/admission/bucket.ts";
import { duration, limitHeaders } from "../../worker/edge/admission/headers.ts";
import { mayWait, mostTogether, Turns } from "../../worker/edge/pool/turns.ts";
import { DEFAULT_LIMITS } from "../../worker/protocol/api-key.ts";

interface Asked {
	owner: string;
	at: number;
	weight?: number;
}
/** One worker that takes a time unit a job: when each of the jobs is finished. */
function serve(asked: readonly Asked[]): (Asked & { done: number })[] {
	const turns = new Turns();
	const waiting: (Asked & { turn: number; seq: number })[] = [];
	const done: (Asked & { done: number })[] = [];
	const coming = [...asked].sort((a, b) => a.at - b.at);
	for (let now = 0, seq = 0; done.length < asked.length; ) {
		while (coming.length > 0 && coming[0].at <= now) {
			const job = coming.shift()!;
			waiting.push({ ...job, turn: turns.next(job.owner, job.weight ?? 1), seq: seq++ });
		}
		waiting.sort((a, b) => a.turn - b.turn || a.seq - b.seq);
		const job = waiting.shift();
		if (!job) {
			now = coming[0].at;
			continue;
		}
		turns.given(job.turn);
		now += 1;
		done.push({ ...job, done: now });
	}
	return done;
}
const waits = (jobs: readonly (Asked & { done: number })[], owner: string) =>
	jobs.filter((job) => job.owner === owner).map(({ at, done }) => done - at);

describe("turns", () => {
	it("a key that sends five hundred at once at most doubles another's wait", () => {
		const modest = Array.from({ length: 60 }, (_, i) => ({ owner: "modest", at: 3 + i * 4.3 }));
		const greedy = Array.from({ length: 500 }, () => ({ owner: "greedy", at: 0 }));
		const alone = Math.max(...waits(serve(modest), "modest"));
		const beside = Math.max(...waits(serve([...greedy, ...modest]), "modest"));
		expect(alone).toBeCloseTo(1, 9);
		expect(beside).toBeLessThanOrEqual(2);
	});

	it("whoever always waits gets a share by weight", () => {
		const jobs = serve(
			[["heavy", 3] as const, ["light", 1] as const].flatMap(([owner, weight]) =>
				Array.from({ length: 400 }, () => ({ owner, weight, at: 0 })),
			),
		);
		const early = jobs.slice(0, 200).filter(({ owner }) => owner === "heavy").length;
		expect(early).toBeGreaterThanOrEqual(149);
		expect(early).toBeLessThanOrEqual(151);
	});

	it("nobody's job waits for more than one of each other's before it", () => {
		fc.assert(
			fc.property(
				fc.array(fc.record({ owner: fc.constantFrom("a", "b", "c"), at: fc.nat(30) }), { minLength: 1, maxLength: 80 }),
				(asked) => {
					const jobs = serve(asked);
					for (const owner of ["a", "b", "c"]) {
						const mine = jobs.filter((job) => job.owner === owner);
						// The first of an idle owner: one in hand, and one of each other owner, at most.
						const first = mine[0];
						if (first) expect(first.done - first.at).toBeLessThanOrEqual(4);
						// An owner's own jobs keep their order.
						expect(mine.map(({ at }) => at)).toEqual(mine.map(({ at }) => at).toSorted((a, b) => a - b));
					}
				},
			),
			{ numRuns: 500, seed: 20 },
		);
	});

	it("what was cancelled before its turn costs nothing", () => {
		const turns = new Turns();
		const starts = Array.from({ length: 5 }, () => turns.next("a", 1));
		for (const start of starts.toReversed()) turns.gone("a", 1, start);
		expect(turns.next("a", 1)).toBe(0);
	});

	it("are the same after a sleep", () => {
		const turns = new Turns();
		const starts = ["a", "a", "b"].map((owner) => turns.next(owner, 1));
		turns.given(starts[0]);
		const woken = new Turns();
		["a", "a", "b"].forEach((owner, i) => woken.known(owner, 1, starts[i], i > 0));
		for (const owner of ["a", "b", "c"]) expect(woken.next(owner, 1)).toBe(turns.next(owner, 1));
	});
});

describe("places to wait", () => {
	it("one key cannot take all of them, and where no key is asked for all are one's", () => {
		const fill = (owner: string | null, queued: number) => {
			let mine = 0;
			while (mayWait(owner, { mine, more: 1, queued: queued + mine, limit: 64 })) mine++;
			return mine;
		};
		expect(fill(null, 0)).toBe(64);
		const first = fill("a", 0);
		expect(first).toBe(42);
		const second = fill("b", first);
		expect(second).toBeGreaterThan(10);
		expect(fill("c", first + second)).toBeGreaterThan(2);
		expect(fill("d", 63)).toBe(1);
		expect(fill("d", 64)).toBe(0);
	});

	it("where nobody else waits, so many of one's come in together as it is told", () => {
		for (let limit = 0; limit <= 100; limit++)
			for (const owner of [null, "a"])
				for (let more = 1; more <= 100; more++)
					expect([limit, owner, more, mayWait(owner, { mine: 0, more, queued: 0, limit })]).toEqual([
						limit,
						owner,
						more,
						more <= mostTogether(owner, limit),
					]);
	});
});

describe("a bucket", () => {
	const limits = { ...DEFAULT_LIMITS, per_minute: 6, per_day: 3 };

	it("gives a minute's worth at once, then as it fills", () => {
		let taken = nothingTaken(limits, 0);
		for (let i = 0; i < 6; i++) taken = (take(taken, limits) as { taken: typeof taken }).taken;
		expect(take(taken, limits)).toEqual({ refused: "rate", wait: 10_000 });
		expect(leftOf(taken, limits, 0)).toMatchObject({ requests: 0, requestsReset: 60_000 });
		expect(take(later(taken, limits, 9_999), limits)).toEqual({ refused: "rate", wait: 1 });
		expect(take(later(taken, limits, 10_000), limits)).toHaveProperty("taken");
	});

	it("counts pictures by the day", () => {
		const noon = 43_200_000;
		let taken = nothingTaken(limits, noon);
		for (let i = 0; i < 3; i++) taken = (spend(taken, limits, 1, noon) as { taken: typeof taken }).taken;
		expect(spend(taken, limits, 1, noon)).toEqual({ refused: "quota", wait: 43_200_000 });
		expect(spend(taken, limits, 0, noon)).toHaveProperty("taken");
		expect(spend(later(taken, limits, 86_400_000), limits, 1, 86_400_000)).toHaveProperty("taken");
	});

	it("never gives more than a minute's worth and what fills in, however it is asked", () => {
		fc.assert(
			fc.property(fc.array(fc.nat(20_000), { maxLength: 100 }), (pauses) => {
				let [now, taken, given] = [0, nothingTaken(limits, 0), 0];
				for (const pause of pauses) {
					now += pause;
					taken = later(taken, limits, now);
					const next = take(taken, limits);
					if (next.refused) expect(next.wait).toBeGreaterThan(0);
					else [taken, given] = [next.taken, given + 1];
					expect(given).toBeLessThanOrEqual(6 + now / 10_000 + 1e-6);
				}
			}),
			{ numRuns: 500, seed: 20 },
		);
	});

	it("is said in the draft's words and in OpenAI's", () => {
		const left = { requests: 5, requestsReset: 10_000, pictures: 2, picturesReset: 43_200_000 };
		expect(limitHeaders(limits, left)).toEqual({
			"ratelimit-policy": '"requests";q=6;w=60, "images";q=3;w=86400',
			ratelimit: '"requests";r=5;t=10, "images";r=2;t=43200',
			"x-ratelimit-limit-requests": "6",
			"x-ratelimit-remaining-requests": "5",
			"x-ratelimit-reset-requests": "10s",
			"x-ratelimit-limit-images": "3",
			"x-ratelimit-remaining-images": "2",
			"x-ratelimit-reset-images": "12h0m0s",
		});
		expect([0, 12, 1000, 61_000, 360_000].map(duration)).toEqual(["0ms", "12ms", "1s", "1m1s", "6m0s"]);
	});
});
