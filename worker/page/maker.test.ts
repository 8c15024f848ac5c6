/** What is asked for a picture that goes on from another one, by answers that a test makes up. */
import { afterAll, expect, it, vi } from "vitest";
import type { JobEvent } from "../protocol/job.ts";
import { trunkOf } from "../protocol/trunk.ts";
import type { Ask } from "./edge.ts";
import type { Source } from "./maker.ts";
import { newRun, type Trunk, trunkInWords } from "./run.ts";

// What the page has around it as it is loaded.
vi.stubGlobal("document", { baseURI: "http://edge.test/" });
vi.stubGlobal("sessionStorage", { getItem: () => null });
afterAll(() => vi.unstubAllGlobals());
const { Refusal } = await import("./edge.ts");
const { follow } = await import("./follow.ts");
const { make } = await import("./maker.ts");

const asked = { prompt: "a cat", policy: "stagevar", format: "png" } as const;

/** All that is asked of a source that has forgotten every job but those it has made for this picture. */
async function askedFor(ask: Partial<Ask>, trunk?: Trunk): Promise<Partial<Ask>[]> {
	const asks: Partial<Ask>[] = [];
	const source: Source = async function* (ask) {
		const { prompt: _, format: __, ...rest } = ask;
		if (ask.from && !/^new \d$/.test(ask.from)) throw new Refusal("It is not kept.", "job_not_found");
		asks.push(rest);
		yield { type: "plan", job: `new ${asks.length}`, grids: [] } as unknown as JobEvent;
	};
	const watch = { changed() {}, waiting() {} };
	await make(newRun({ ...asked, seed: "9", ...ask }, trunk), new AbortController().signal, watch, source);
	return asks;
}

const policy = "stagevar";

it("first scales that are forgotten are made once more, from the seeds that they had", async () => {
	expect(await askedFor({ from: "old", scales: "2" })).toEqual([
		{ policy: "exact", seed: "9", until: "1" },
		{ policy, seed: "9", from: "new 1", scales: "2" },
	]);
	expect(await askedFor({ from: "old", scales: "2" }, trunkOf({ seed: "5" }, 2))).toEqual([
		{ policy, seed: "5", until: "1" },
		{ policy, seed: "9", from: "new 1", scales: "2" },
	]);
	// Of a sibling: its own scales stand on those of the picture before it.
	const sibling = { seed: "7", trunk: trunkOf({ seed: "5" }, 2) };
	expect(await askedFor({ from: "old", scales: "3" }, trunkOf(sibling, 3))).toEqual([
		{ policy, seed: "5", until: "1" },
		{ policy, seed: "7", from: "new 1", scales: "2", until: "2" },
		{ policy, seed: "9", from: "new 2", scales: "3" },
	]);
	expect(await askedFor({ from: "old", scales: "1" }, trunkOf(sibling, 1))).toEqual([
		{ policy, seed: "5", until: "0" },
		{ policy, seed: "9", from: "new 1", scales: "1" },
	]);
});

it("says whose the first scales are, all of them", () => {
	const sibling = { seed: "7", trunk: trunkOf({ seed: "5" }, 2) };
	expect([1, 2, 3].map((scales) => trunkInWords(trunkOf(sibling, scales)))).toEqual([
		"the first 1 of seed 5",
		"the first 2 of seed 5",
		"the first 2 of seed 5, then up to 3 of seed 7",
	]);
});

it("an edge is not asked to go on from a picture that was made in a browser", async () => {
	const fetched = vi.fn(async () => new Response(null, { status: 400 }));
	vi.stubGlobal("fetch", fetched);
	const ask = { ...asked, seed: "9", from: "here-1", scales: "2" };
	const come = follow(ask, new AbortController().signal, () => {});
	await expect(come.next()).rejects.toMatchObject({ name: "Refusal", code: "job_not_found" });
	expect(fetched).not.toHaveBeenCalled();
});
