/** How the page looks, whoever looks. */

import { expect } from "vitest";
import { pageWeight } from "../../../infra/page/bench.ts";
import { findings, overflows } from "../browser.ts";
import { done, it, open, PHONE, page, THREE_WORDS } from "./setup.ts";

it("keeps its layout with any text, on a phone, in the dark and in forced colours", async () => {
	await page.setViewportSize(PHONE);
	await open();
	for (const prompt of [
		"一张红苹果的照片".repeat(30),
		"صورة لتفاحة حمراء ".repeat(30),
		"🍎👩‍👩‍👧‍👦".repeat(60),
		"W".repeat(2000),
	]) {
		await page.fill("#prompt", prompt);
		expect(await overflows(page)).toBe(false);
	}
	await page.fill("#prompt", THREE_WORDS);
	await page.click("#go");
	await done();
	const box = await (await page.$("#print-a .paper"))?.boundingBox();
	expect(box && box.y + box.height).toBeLessThan(PHONE.height);
	await page.emulateMedia({ colorScheme: "dark" });
	expect(await findings(page)).toEqual([]);
	// Each stage is filled in its own way where colours are the reader's.
	await page.emulateMedia({ forcedColors: "active" });
	const fills = await page.$$eval(".idea b", (names) =>
		names.map((name) => getComputedStyle(name, "::before").backgroundImage),
	);
	expect(new Set(fills).size).toBe(3);
	const widths = [1440, 768, 360];
	for (const width of widths) {
		await page.setViewportSize({ width, height: 900 });
		expect(await overflows(page)).toBe(false);
	}
});

it("weighs under 60 kB, and the engine that it loads when asked to under 250 kB", async () => {
	const { page, engine } = await pageWeight();
	expect(page).toBeLessThan(60_000);
	expect(engine).toBeLessThan(250_000);
});
