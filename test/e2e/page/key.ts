/** An edge that asks for an API key. */
import type { Page } from "playwright-core";
import { expect } from "vitest";
import { findings } from "../browser.ts";
import { ADMIN_SECRET, done, it, newPage, parts, state, THREE_WORDS } from "./setup.ts";

async function admin(path: string, method: string, body?: object): Promise<{ id: string; key: string }> {
	const response = await fetch(`${parts.url}/v1/admin/keys${path}`, {
		method,
		headers: { authorization: `Bearer ${ADMIN_SECRET}`, "content-type": "application/json" },
		body: body && JSON.stringify(body),
	});
	expect(response.ok).toBe(true);
	return response.json();
}
const mint = () => admin("", "POST", { name: "page" });

/** This machine by a name at which it asks for keys. */
const keyedUrl = () => parts.url.replace("localhost", "keys.localhost");
const said = (at: Page) => at.textContent("#key-why");
/** Everything in which a key could stay or leave: addresses, history and what the page keeps, but for the tab's own. */
const traces = (at: Page) =>
	at.evaluate(async () => {
		const databases = await indexedDB.databases();
		return JSON.stringify([
			location.href,
			history.state,
			document.documentElement.outerHTML,
			{ ...localStorage },
			databases,
			[...document.querySelectorAll("input")].map(({ value }) => value),
			performance.getEntriesByType("resource").map(({ name }) => name),
		]);
	});

it("an edge that asks for an API key: the page says so, asks for it, and draws with it", async () => {
	const { id, key } = await mint();
	const page = await newPage(keyedUrl());
	const addresses: string[] = [];
	page.on("request", (request) => addresses.push(request.url()));
	await page.goto(keyedUrl());
	await page.waitForSelector("#key-dialog[open]");
	expect(await said(page)).toMatch(/draws for those who have a key/);
	expect(await findings(page)).toEqual([]);
	// Whoever has none is left alone until they ask for something.
	await page.click("#key-dialog button:text('Not now')");
	await page.waitForFunction(() => document.querySelector("#status")?.textContent?.includes("API key"));
	expect(await page.textContent("#status")).toBe("An API key is needed here. Generate asks for it again.");
	await page.fill("#prompt", THREE_WORDS);
	await page.press("#prompt", "Enter");
	await page.waitForSelector("#key-dialog[open]");
	// A wrong one is asked for again.
	await page.fill("#key", "fl_wrong");
	await page.press("#key", "Enter");
	await page.waitForFunction(() => document.querySelector("#key-why")?.textContent?.startsWith("The key is wrong"));
	await page.waitForSelector("#key-dialog[open]");
	await page.fill("#key", key);
	await page.press("#key", "Enter");
	await done(page);
	expect(await page.evaluate(() => ({ ...sessionStorage }))).toEqual({});
	expect(await traces(page)).not.toContain(key);
	await page.click('[data-dialog="code"]');
	expect(await page.textContent("#code")).toContain('-H "Authorization: Bearer $FIRSTLIGHT_KEY"');
	await page.keyboard.press("Escape");

	// Revoked while the page is open, another one is kept until the tab is closed.
	const other = await mint();
	await admin(`/${id}`, "DELETE");
	await page.click("#another");
	await page.waitForSelector("#key-dialog[open]");
	expect(await said(page)).toMatch(/^The key is wrong, or not good any more/);
	await page.fill("#key", other.key);
	await page.check("#key-kept");
	await page.click("#key-dialog button:text('Use it')");
	await done(page);
	await page.reload();
	await page.waitForSelector("#choices label");
	expect(await page.isVisible("#key-dialog")).toBe(false);
	await page.fill("#prompt", "two words");
	await page.press("#prompt", "Enter");
	await done(page);
	expect(await traces(page)).not.toContain(other.key);
	expect(addresses.filter((address) => address.includes("fl_"))).toEqual([]);

	// Forgotten, nothing of it is left, and the page asks again.
	await page.click("#settings summary");
	await page.click("#key-open");
	await page.click("#key-forget");
	await page.waitForFunction(() => sessionStorage.length === 0);
	await page.press("#prompt", "Enter");
	await page.waitForSelector("#key-dialog[open]");
	await page.keyboard.press("Escape");
	await state("error", page);
	await page.context().close();
});
