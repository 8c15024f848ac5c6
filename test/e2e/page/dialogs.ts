/** What opens over the page. */

import { expect } from "vitest";
import { it, open, page } from "./setup.ts";

it("a dialog is closed by a press beside it, not by one that begins or ends within, nor with a key in it", async () => {
	await open();
	const shown = (id: string) => page.isVisible(`#${id}[open]`);
	/** Presses where the dialog's corner is moved by so much, and lets go likewise. */
	const press = async (id: string, from: number, to = from) => {
		const box = await (await page.$(`#${id}`))?.boundingBox();
		if (!box) throw new Error("There is no dialog.");
		await page.mouse.move(box.x + from, box.y + from);
		await page.mouse.down();
		await page.mouse.move(box.x + to, box.y + to);
		await page.mouse.up();
	};
	await page.click('[data-dialog="how"]');
	for (const [from, to] of [
		[5, 5],
		[60, -10],
		[-10, 60],
	]) {
		await press("how", from, to);
		expect(await shown("how")).toBe(true);
	}
	await press("how", -10);
	expect(await shown("how")).toBe(false);

	await page.click("#settings summary");
	await page.click("#key-open");
	await page.fill("#key", "fl_some");
	await press("key-dialog", -10);
	expect([await shown("key-dialog"), await page.inputValue("#key")]).toEqual([true, "fl_some"]);
	await page.fill("#key", "");
	await press("key-dialog", -10);
	expect(await shown("key-dialog")).toBe(false);
});

it("says where code cannot be copied, and leaves it chosen to be copied by hand", async () => {
	await open();
	// As over plain http.
	await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
	await page.click('header [data-dialog="code"]');
	await page.click("#copy-code");
	expect(await page.textContent("#copy-code")).toMatch(/^Not allowed/);
	const chosen = await page.evaluate(() => getSelection()?.toString());
	expect(chosen).toBe(await page.textContent("#code"));
});
