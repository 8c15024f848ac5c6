/**
 * The page in a real Chromium, against a real edge and a real GPU worker, which all its tests share: page.test.ts reads
 * them as one file. Each finds both there and running, whatever the one before did to them.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it as test } from "vitest";
import { launch } from "../../../infra/page/chromium.ts";
import { importReferenceSet } from "../../../model-shards/import/reference.ts";
import type { FinalEvent } from "../../../worker/protocol/job.ts";
import { sse } from "../firstlight.ts";
import { Parts } from "../parts.ts";

/** Of the edge. */
export const ADMIN_SECRET = "an-admin-for-tests-0123456789";

const reference = join(import.meta.dirname, "..", "..", "reference");
export const PHONE = { width: 390, height: 844 };
export const THREE_WORDS = "a photo of a cat";

export let parts: Parts;
/** A new one for each test, in a browser profile of its own. */
export let page: Page;
let browser: Browser;
let dir: string;
let problems: string[];

beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-page-"));
	await importReferenceSet(join(reference, "var-tiny", "manifest.json"), join(dir, "var-tiny"));
	[parts, browser] = await Promise.all([
		Parts.start(`tiny,${join(dir, "var-tiny")}`, { PUBLIC_MODELS: "tiny", STATUS_SECONDS: "0", ADMIN_SECRET }),
		launch(),
	]);
});
afterAll(async () => {
	await browser?.close();
	await parts?.stop();
	await rm(dir, { recursive: true });
});
beforeEach(async () => {
	problems = [];
	page = await newPage();
});
afterEach(async () => {
	await page.context().close();
	expect(problems).toEqual([]);
});

/** A test with a worker there. */
export function it(name: string, body: () => Promise<void>): void {
	test(name, async () => {
		await parts.both();
		await body();
	});
}

/** In a browser profile of its own. Nothing it asks for may come from elsewhere than `url`. */
export async function newPage(url = parts.url): Promise<Page> {
	const context = await browser.newContext({ viewport: { width: 1366, height: 768 }, acceptDownloads: true });
	const page = await context.newPage();
	page.on("pageerror", (error) => problems.push(String(error)));
	page.on("request", (request) => {
		if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) problems.push(request.url());
	});
	// Sketches of what is typed are a test of their own.
	await page.addInitScript(() => localStorage.getItem("live") ?? localStorage.setItem("live", "no"));
	return page;
}

/** With its lists, so that choices can be made. */
export async function open(query: Record<string, string> = {}, at: Page = page): Promise<void> {
	await at.goto(`${parts.url}/?${new URLSearchParams(query)}`);
	await at.waitForSelector("#choices label");
}

export async function state(name: string, at: Page = page): Promise<void> {
	await at.waitForSelector(`body[data-state="${name}"]`, { timeout: 90_000 });
}

export async function done(at: Page = page): Promise<void> {
	await state("done", at);
	await at.waitForSelector('#picture[data-scale="final"]');
	// Drawn with all that is said of it, a frame later.
	await at.waitForSelector("#actions:not([hidden])");
}

/** Opens the list of all policies where it is needed. */
export async function choose(policy: string): Promise<void> {
	const choice = `label:has(> input[value="${policy}"])`;
	if (!(await page.isVisible(choice))) await page.click("#more summary");
	await page.click(choice);
}

export function text(selector: string): Promise<(string | null)[]> {
	return page.$$eval(selector, (elements) => elements.map((element) => element.textContent));
}

export function status(): Promise<string | null> {
	return page.textContent("#status");
}

export async function facts(at: Page = page): Promise<Record<string, string>> {
	return Object.fromEntries(
		await at.$eval("#facts", (list) =>
			[...list.querySelectorAll("dt")].map((term) => [term.textContent, term.nextElementSibling?.textContent ?? ""]),
		),
	);
}

/** Stage and state of every frame. */
export function film(): Promise<string[]> {
	return page.$$eval("#film > li", (items) =>
		items.map((item) => `${(item as HTMLElement).dataset.stage} ${(item as HTMLElement).dataset.state}`),
	);
}

/** Queries of the pictures that the page asks for from now on. */
export function asked(at: Page = page): URLSearchParams[] {
	const queries: URLSearchParams[] = [];
	at.on("request", (request) => {
		if (request.url().includes("/preview?")) queries.push(new URL(request.url()).searchParams);
	});
	return queries;
}

export async function download(kind: string): Promise<{ name: string; bytes: Buffer<ArrayBuffer> }> {
	await page.click("#download-menu summary");
	const [file] = await Promise.all([page.waitForEvent("download"), page.click(`[data-download="${kind}"]`)]);
	return { name: file.suggestedFilename(), bytes: (await readFile(await file.path())) as Buffer<ArrayBuffer> };
}

/** What the API itself answers. */
export async function events(query: Record<string, string>) {
	return await Array.fromAsync(sse(await fetch(`${parts.url}/v1/images/preview?${new URLSearchParams(query)}`)));
}

export async function finalOf(query: Record<string, string>): Promise<FinalEvent> {
	return (await events({ cache: "false", ...query })).at(-1)?.data as unknown as FinalEvent;
}
