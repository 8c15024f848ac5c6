/** The form. */

import { expect } from "vitest";
import { findings } from "../browser.ts";
import { asked, done, it, open, page, parts, state, status, THREE_WORDS, text } from "./setup.ts";

it("a second question takes the first one's place; Esc and Stop stop; what is wrong is said in the form", async () => {
	await open();
	const queries = asked();
	await page.click("#go");
	expect(await page.textContent("#hint")).toMatch(/^Say what the picture should show/);
	await page.fill("#prompt", "   ");
	await page.press("#prompt", "Enter");
	expect(await page.textContent("#hint")).toMatch(/^Say what the picture should show/);
	await page.fill("#prompt", THREE_WORDS);
	await page.fill("#seed", "9999999999");
	expect(await page.getAttribute("#seed", "aria-invalid")).toBe("true");
	await page.click("#go");
	expect(await page.textContent("#hint")).toBe("A seed is a whole number from 0 to 4294967295.");
	expect(await findings(page)).toEqual([]);
	expect(queries).toEqual([]);
	await page.fill("#seed", "");

	// An example is one click; a double click is one picture.
	await page.click("#examples button");
	await done();
	expect(queries.at(-1)?.get("prompt")).toBe("a photo of a red apple");
	const height = () => page.$eval("#form", (form) => form.getBoundingClientRect().height);
	const before = await height();
	parts.halt();
	await page.dblclick("#go");
	await state("running");
	expect(await height()).toBe(before);
	parts.goOn();
	await done();

	// While the worker stands still: Enter asks for another picture, Stop and Esc for none.
	parts.halt();
	await page.click("#go");
	await page.fill("#prompt", "a photo of two horses");
	await page.press("#prompt", "Enter");
	await state("running");
	parts.goOn();
	await done();
	expect(queries.at(-1)?.get("prompt")).toBe("a photo of two horses");
	expect(await page.getAttribute("#picture", "alt")).toBe("a photo of two horses");
	parts.halt();
	for (const stop of [() => page.keyboard.press("Escape"), () => page.click("#stop")]) {
		await page.click("#go");
		await state("running");
		await stop();
		await state("idle");
		expect(await status()).toBe("Stopped.");
	}
	parts.goOn();
	await page.click("#go");
	await done();
});

it("sketches what is typed, the one before cancelled, and says which words are not known", async () => {
	await open();
	const queries = asked();
	await page.click("#settings summary");
	await page.check("#live");
	await page.keyboard.press("Escape");
	await page.locator("#prompt").pressSequentially("a red apple and a spaceship", { delay: 15 });
	expect(await text("#mirror mark")).toEqual(["spaceship"]);
	expect(await page.textContent("#hint")).toMatch(/does not know spaceship\. It is ignored\./);
	expect(await findings(page)).toEqual([]);
	await page.waitForSelector('#film > li[data-state="done"]');
	const sketch = queries.at(-1);
	expect([sketch?.get("prompt"), sketch?.get("until")]).toEqual(["a red apple and a spaceship", "0"]);
	expect(queries.length).toBeLessThan(6);
	expect(await page.getAttribute("body", "data-state")).toBe("idle");
	await page.click('[data-dialog="model"]');
	expect(await page.textContent("#model-words")).toContain("umbrella");
	expect(await findings(page)).toEqual([]);
});

/** What the hint has been, one after the other. */
type Said = typeof globalThis & { said: (string | null)[] };

it("keys of a word in the making are not the page's; the hint is said once; a long prompt is not cut", async () => {
	await open();
	const queries = asked();
	/** A key within a composition, as Chromium and Firefox tell it and as Safari does. */
	const composed = (key: string) =>
		page.evaluate((key) => {
			for (const how of [{ isComposing: true }, { keyCode: 229 }])
				document
					.querySelector("#prompt")
					?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...how }));
		}, key);
	await page.evaluate(() => {
		const hint = document.querySelector("#hint") as HTMLElement;
		const said = ((globalThis as Said).said = [hint.textContent]);
		new MutationObserver(() => said.push(hint.textContent)).observe(hint, { childList: true });
	});
	await page.locator("#prompt").pressSequentially("a red apple");
	const said = await page.evaluate(() => (globalThis as Said).said);
	expect(said.filter((text, i) => text === said[i - 1])).toEqual([]);
	await composed("Enter");
	expect([queries.length, await page.getAttribute("body", "data-state")]).toEqual([0, "idle"]);
	parts.halt();
	await page.click("#go");
	await state("running");
	await composed("Escape");
	await new Promise((resolve) => setTimeout(resolve, 200));
	expect(await page.getAttribute("body", "data-state")).toBe("running");
	await page.keyboard.press("Escape");
	await state("idle");
	parts.goOn();

	// Two thousand characters are two thousand, whatever they take in JavaScript.
	const longest = "\u{1f34e}".repeat(2000);
	await page.fill("#prompt", "");
	await page.focus("#prompt");
	await page.keyboard.insertText(longest);
	expect(await page.inputValue("#prompt")).toBe(longest);
	expect(await page.getAttribute("#hint", "data-kind")).toBe("note");
	queries.splice(0);
	await page.keyboard.insertText("!");
	await page.press("#prompt", "Enter");
	expect(await page.textContent("#hint")).toBe("A prompt has at most 2000 characters.");
	expect(queries).toEqual([]);

	await page.click("#settings summary");
	await page.selectOption("#model", "var-tiny");
	await page.keyboard.press("Escape");
	for (const wrong of ["", "1e0", "10"]) {
		await page.fill("#class", wrong);
		await page.click("#go");
		expect(await page.textContent("#hint")).toBe("A class is a whole number from 0 to 9.");
	}
	expect(queries).toEqual([]);
});
