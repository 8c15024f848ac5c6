/** Waiting: for a worker that loads, and for a connection that was lost. */

import { expect, test } from "vitest";
import { findings } from "../browser.ts";
import { done, facts, finalOf, it, open, page, parts, state, status, THREE_WORDS } from "./setup.ts";

/** At where a job stands. */
const LOOK = /\/v1\/jobs\/[0-9a-f]{64}$/;
const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
const health = async (): Promise<{ queue: number; loading: unknown[] }> => (await fetch(`${parts.url}/healthz`)).json();

test("opened before a worker is there it waits, says how far it is, and goes on by itself", async () => {
	await parts.killWorker();
	const response = await page.goto(parts.url);
	for (const [name, value] of [
		["accept-ch", /^Save-Data, ECT$/],
		["content-security-policy", /default-src 'none'.*frame-ancestors 'none'/],
		["x-content-type-options", /^nosniff$/],
		["referrer-policy", /^no-referrer$/],
	] as const)
		expect((await response?.allHeaders())?.[name]).toMatch(value);
	await page.waitForSelector("#loading:not([hidden])");
	expect(await status()).toBe("The model is loading.");
	await page.fill("#prompt", THREE_WORDS);
	await page.press("#prompt", "Enter");
	await state("running");
	expect(await findings(page)).toEqual([]);
	const bar = () => page.getAttribute("#loading", "value");
	expect(await bar()).toBe(null);
	parts.launchWorker();
	while ((await health()).loading.length === 0) await pause();
	parts.halt();
	await page.waitForSelector("#loading[value]");
	const [, share] =
		/^(?:reading (?:var-)?tiny|preparing the GPU), (\d+) %$/.exec((await page.textContent("#loading-note")) ?? "") ??
		[];
	expect(Number(share)).toBe(Math.round(100 * Number(await bar())));
	expect(await status()).toBe("The model is loading. The picture begins by itself.");
	expect(await findings(page)).toEqual([]);
	parts.goOn();
	await done();
	expect(await page.isVisible("#loading")).toBe(false);
	expect(await status()).toMatch(/^Picture finished in/);
});

it("goes on where it was when the worker is killed, and when the edge is", async () => {
	await open({ prompt: THREE_WORDS, seed: "11" });
	const whole = await finalOf({ prompt: THREE_WORDS, seed: "11", format: "png" });
	const begun = async () => (await page.$$('#film > li[data-state="done"]')).length > 0;
	parts.halt();
	await page.click("#go");
	await parts.slice(begun);
	await parts.killWorker();
	await parts.startWorker();
	await done();
	expect((await facts())["SHA-256"]).toBe(whole.sha256);

	const again = await finalOf({ prompt: THREE_WORDS, seed: "12", format: "png" });
	parts.halt();
	await page.fill("#seed", "12");
	await page.click("#go");
	await page.waitForSelector('#film > li[data-state="now"]');
	await parts.slice(begun);
	await parts.killEdge();
	await page.waitForFunction(() => document.querySelector("#status")?.textContent?.includes("goes on where it was"));
	expect(await findings(page)).toEqual([]);
	await parts.startEdge();
	parts.goOn();
	await done();
	expect((await facts())["SHA-256"]).toBe(again.sha256);
});

it("says how many pictures are before this one, and when it will be done", async () => {
	await finalOf({ prompt: THREE_WORDS, seed: "20" });
	await open({ prompt: THREE_WORDS, seed: "21" });
	parts.halt();
	const others = ["22", "23"].map((seed) => finalOf({ prompt: THREE_WORDS, seed }));
	while ((await health()).queue !== 1) await pause();
	const looks: number[] = [];
	page.on("request", (request) => LOOK.test(request.url()) && looks.push(Date.now()));
	await page.click("#go");
	await page.waitForFunction(() => document.querySelector("#status")?.textContent?.includes("before this one"));
	expect(await status()).toMatch(/^One picture is before this one\. Done in about [\d.]+ seconds\.$/);
	// A key that may ask once a second has most of that left.
	await page.waitForRequest(LOOK);
	expect(looks[1] - looks[0]).toBeGreaterThan(2500);
	parts.goOn();
	await done();
	await Promise.all(others);
});
