/** Several pictures: sketches, siblings. */

import { expect } from "vitest";
import { readMetadata } from "../../../worker/gpu/encode.ts";
import type { PlanEvent } from "../../../worker/protocol/job.ts";
import { faintControls, findings } from "../browser.ts";
import {
	asked,
	choose,
	done,
	download,
	events,
	facts,
	finalOf,
	it,
	open,
	page,
	parts,
	state,
	THREE_WORDS,
} from "./setup.ts";

it("nine sketches differ, one is finished from its own codes, and its siblings share its first scales", async () => {
	await open();
	await page.fill("#prompt", "a photo of a cat");
	await page.selectOption("#count", "nine");
	const queries = asked();
	await page.click("#go");
	await state("done");
	expect(queries.length).toBe(9);
	expect(new Set(queries.map((query) => query.get("until")))).toEqual(new Set(["1"]));
	expect(await findings(page)).toEqual([]);
	expect(await faintControls(page)).toEqual([]);
	const tiles = await page.$$eval("#tiles img:not(.leaving)", async (images) =>
		Promise.all(
			images.map(async (image) =>
				[...new Uint8Array(await (await fetch((image as HTMLImageElement).src)).arrayBuffer())].join(),
			),
		),
	);
	expect([tiles.length, new Set(tiles).size]).toEqual([9, 9]);
	await page.click("#tiles li:nth-child(4) button");
	expect(await page.textContent("#saving")).toMatch(/^A sketch/);
	await choose("stagevar");
	await page.click("#finish");
	await done();
	const finished = Object.fromEntries(queries[9]) as Record<string, string>;
	expect(finished).toMatchObject({ policy: "stagevar", scales: "2", from: expect.stringMatching(/^[0-9a-f]{64}$/) });
	const { "SHA-256": sha, seed } = await facts();
	expect((await finalOf(finished)).sha256).toBe(sha);
	expect((await finalOf({ prompt: "a photo of a cat", seed, policy: "stagevar" })).sha256).toBe(sha);
	expect(await page.isVisible("#back")).toBe(true);

	await page.click("#film li:nth-child(2) button");
	await page.click("#siblings");
	await state("done");
	const siblings = queries.slice(10).map((query) => Object.fromEntries(query) as Record<string, string>);
	expect(siblings.length).toBe(4);
	const made = await Promise.all(siblings.slice(0, 2).map((query) => events(query)));
	const scale = (which: number, index: number) =>
		made[which].find(({ event, data }) => event === "scale" && data.index === index)?.data.base64;
	expect(scale(0, 1)).toBe(scale(1, 1));
	expect(scale(0, 2)).not.toBe(scale(1, 2));
	await page.click("#tiles li:first-child button");
	expect((await facts())["first scales"]).toBe(`the first 2 of seed ${seed}`);
	const metadata = await readMetadata((await download("png")).bytes);
	expect(metadata).toMatchObject({ trunk: { seed: Number(seed), scales: 2 } });
});

it("a job of a sketch is told as a plan, its scales and a picture of that size", async () => {
	const sketch = await events({ prompt: THREE_WORDS, seed: "3", until: "1" });
	expect(sketch.map(({ event }) => event)).toEqual(["plan", "scale", "scale", "final"]);
	expect(sketch.at(-1)?.data).toMatchObject({ width: 32, height: 32 });
	const { job } = sketch[0].data as unknown as PlanEvent;
	const log = await events({ lastEventId: job });
	expect(log).toEqual(sketch);
	const refused = async (query: Record<string, string>) => {
		const answer = await fetch(`${parts.url}/v1/images/preview?${new URLSearchParams({ prompt: "a cat", ...query })}`);
		return [answer.status, (await answer.json()).error.param];
	};
	expect(await refused({ from: job, scales: "3" })).toEqual([400, "scales"]);
	expect(await refused({ from: job })).toEqual([400, "scales"]);
	expect(await refused({ from: "0".repeat(64), scales: "1" })).toEqual([404, "from"]);
	expect((await fetch(`${parts.url}/v1/jobs/${job}`, { method: "DELETE" })).status).toBe(204);
});

it("the others can be had back while one is open, after Stop too", async () => {
	await open({ prompt: THREE_WORDS });
	await page.selectOption("#count", "4");
	parts.halt();
	await page.click("#go");
	await state("running");
	const shown = "#tiles button:not(:disabled)";
	await parts.slice(async () => (await page.$(shown)) !== null);
	await page.click(shown);
	for (const stop of [false, true]) {
		if (stop) {
			await page.click("#stop");
			await state("idle");
		}
		await page.click("#back");
		expect([await page.isVisible("#tiles"), await page.isVisible("#papers")]).toEqual([true, false]);
		expect([await page.isVisible("#back"), await page.isVisible("#actions")]).toEqual([false, false]);
		await page.click(shown);
		expect(await page.isVisible("#tiles")).toBe(false);
	}
	expect(await page.isVisible("#back")).toBe(true);
});
