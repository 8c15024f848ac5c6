/** A picture afterwards: remembered, shared, dropped, made from code. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import sharp from "sharp";
import { expect } from "vitest";
import { faintControls, findings } from "../browser.ts";
import {
	asked,
	done,
	download,
	facts,
	film,
	it,
	newPage,
	open,
	page,
	parts,
	state,
	status,
	THREE_WORDS,
} from "./setup.ts";

it("is remembered, shared, dropped and made again from code", async () => {
	await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
	await open();
	await page.fill("#prompt", "a photo of a green umbrella");
	await page.click("#go");
	await done();
	const { seed, "SHA-256": sha } = await facts();
	const { bytes } = await download("webp");
	await page.click("#copy-menu summary");
	await page.click("#copy-link");
	const link = await page.evaluate(() => navigator.clipboard.readText());
	await page.click("#copy-menu summary");
	await page.click('#copy-menu [data-dialog="code"]');
	const curl = (await page.textContent("#code")) ?? "";
	expect(await findings(page)).toEqual([]);
	expect(await faintControls(page)).toEqual([]);
	const stream = await promisify(execFile)("bash", ["-c", curl.replace("curl -N", "curl -sN")], { maxBuffer: 2 ** 26 });
	expect(stream.stdout).toContain(`"sha256":"${sha}"`);

	// A reload keeps it, with its scales; it can be deleted.
	await open();
	await page.click("#history li:first-child button");
	await done();
	expect([(await facts())["SHA-256"], (await film()).length]).toEqual([sha, 4]);
	expect(await page.inputValue("#prompt")).toBe("a photo of a green umbrella");
	await page.hover("#history li:first-child");
	await page.click("#history li:first-child .remove");
	await page.waitForSelector("#history-card", { state: "hidden" });
	await open();
	expect(await page.$$("#history li")).toEqual([]);

	// Dropped on the page, a picture brings its settings back; another picture has none.
	await page.fill("#prompt", "");
	const drop = (data: number[]) =>
		page.evaluate((data) => {
			const transfer = new DataTransfer();
			transfer.items.add(new File([new Uint8Array(data)], "picture.webp", { type: "image/webp" }));
			document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
		}, data);
	await drop([...bytes]);
	await page.waitForFunction(() => (document.querySelector("#prompt") as HTMLTextAreaElement).value !== "");
	expect([await page.inputValue("#prompt"), await page.inputValue("#seed")]).toEqual([
		"a photo of a green umbrella",
		seed,
	]);
	await page.click("#go");
	await done();
	expect((await facts())["SHA-256"]).toBe(sha);
	const other = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
		.webp()
		.toBuffer();
	await drop([...other]);
	await page.waitForFunction(() => document.querySelector("#status")?.textContent?.includes("not made here"));

	// Whoever has the link sees the picture while it is kept, and can make it again afterwards.
	const friend = await newPage();
	const queries = asked(friend);
	await friend.goto(link);
	await done(friend);
	expect((await facts(friend))["SHA-256"]).toBe(sha);
	expect(queries.map((query) => [...query.keys()])).toEqual([["lastEventId"]]);
	const gone = new URL(link);
	gone.searchParams.set("job", "0".repeat(64));
	await friend.goto(gone.href);
	await state("error", friend);
	expect(await friend.textContent("#status")).toMatch(/not kept any more/);
	await friend.click("#go");
	await done(friend);
	expect((await facts(friend))["SHA-256"]).toBe(sha);
	await friend.context().close();
});

it("opened while another picture or a sketch is made, it stays on the table", async () => {
	await open({ prompt: THREE_WORDS });
	await page.click("#go");
	await done();
	const { "SHA-256": sha } = await facts();
	const kept = async (open = () => page.click("#history li:first-child button")) => {
		await open();
		await done();
		// What was being made has its last word, if it has one.
		await new Promise((resolve) => setTimeout(resolve, 500));
		await done();
		expect(await status()).toMatch(/^Picture finished in/);
		expect((await facts())["SHA-256"]).toBe(sha);
	};
	parts.halt();
	await page.click("#another");
	await page.waitForSelector('#film > li[data-state="now"]');
	// Nothing is measured yet, so nothing is told of times.
	expect(await page.textContent("#bar-time")).toBe("");
	await kept();
	parts.goOn();

	await page.click("#settings summary");
	await page.check("#live");
	await page.keyboard.press("Escape");
	const queries = asked();
	// At once: a prompt that rests is sketched.
	await kept(() =>
		page.evaluate(() => {
			const prompt = document.querySelector("#prompt") as HTMLTextAreaElement;
			prompt.value = "a photo of a red apple";
			prompt.dispatchEvent(new InputEvent("input", { bubbles: true }));
			(document.querySelector("#history li:first-child button") as HTMLElement).click();
		}),
	);
	expect(queries).toEqual([]);
});

it("is made and shown by a browser that blocks what sites keep", async () => {
	await page.addInitScript(() => {
		for (const place of ["localStorage", "sessionStorage", "indexedDB"])
			Object.defineProperty(window, place, {
				get: () => {
					throw new DOMException("Blocked.", "SecurityError");
				},
			});
	});
	await open({ prompt: THREE_WORDS });
	await page.click("#go");
	await done();
	expect(await page.isVisible("#history li:first-child button")).toBe(true);
	await page.click("#settings summary");
	await page.click("#key-open");
	await page.fill("#key", "fl_some");
	await page.check("#key-kept");
	await page.press("#key", "Enter");
	// It is held and sent, and this edge knows no such key.
	await page.waitForSelector("#key-dialog[open] >> text=/The key is wrong/");
	await page.keyboard.press("Escape");
	await page.hover("#history li:first-child");
	await page.click("#history li:first-child .remove");
	await page.waitForSelector("#history-card", { state: "hidden" });
});
