/** One picture: its scales, its time, and what a model draws. */
import { createHash } from "node:crypto";
import sharp from "sharp";
import { expect } from "vitest";
import { readMetadata } from "../../../worker/gpu/encode.ts";
import type { RevisionEvent } from "../../../worker/protocol/job.ts";
import { faintControls, findings, overflows } from "../browser.ts";
import {
	asked,
	choose,
	done,
	download,
	events,
	facts,
	film,
	finalOf,
	it,
	open,
	PHONE,
	page,
	THREE_WORDS,
	text,
} from "./setup.ts";

it("shows every scale, where the time went, and takes a picture along", async () => {
	await open();
	expect(await film()).toEqual(Array(4).fill("undefined waiting"));
	expect(await page.title()).toBe("Firstlight");
	expect(await findings(page)).toEqual([]);
	await page.fill("#prompt", THREE_WORDS);
	await page.fill("#seed", "7");
	await choose("stagevar");
	await page.click("#go");
	await done();
	expect(await page.title()).toBe(`✓ ${THREE_WORDS}`);
	expect(await film()).toEqual(["semantic done", "structure done", "fidelity done", "fidelity done"]);
	expect(await text("#film b")).toEqual(["1×1", "2×2", "3×3", "4×4"]);
	expect(await page.$eval("#picture", (image) => (image as HTMLImageElement).naturalWidth)).toBe(64);
	expect(await findings(page)).toEqual([]);
	for (const fold of ["#more summary", "#settings summary"]) await page.click(fold);
	expect(await faintControls(page)).toEqual([]);
	await page.keyboard.press("Escape");

	// Bars are as long as the time.
	const final = await finalOf({ prompt: THREE_WORDS, seed: "7", policy: "stagevar", format: "png" });
	expect((await facts())["SHA-256"]).toBe(final.sha256);
	const bars = await page.$$eval("#bar li", (items) =>
		items.map((item) => [
			Number((item as HTMLElement).style.getPropertyValue("--share")),
			item.getBoundingClientRect().width,
			(item as HTMLElement).title,
		]),
	);
	const longest = Math.max(...bars.map(([share]) => Number(share)));
	for (const [share, width, title] of bars) {
		expect(title).toMatch(/^\d×\d, (meaning|structure|detail), (\d+ ms|\d+\.\d s)$/);
		if (share === longest) expect(Number(width)).toBeGreaterThan(2);
	}
	const [wide, , ...rest] = [...bars].sort(([a], [b]) => Number(b) - Number(a));
	for (const [share, width] of rest)
		if (Number(width) > 8)
			expect((Number(width) + 2) / (Number(wide[1]) + 2)).toBeCloseTo(Number(share) / Number(wide[0]), 1);
	expect(await page.textContent("#ghost-name")).toMatch(/^All scales exact, (predicted|measured here)$/);
	expect(await page.textContent("#saving")).toMatch(/of exact's time/);

	// Steps through the scales, and looks at one while it is held.
	const shown = (scale: string) => page.waitForSelector(`#picture[data-scale="${scale}"]`);
	await page.click("#film li:nth-child(2) button");
	await shown("1");
	await page.keyboard.press("ArrowLeft");
	await shown("0");
	await page.keyboard.press("End");
	await shown("final");
	await page.keyboard.press("Home");
	await shown("0");
	await page.hover("#hold");
	await page.mouse.down();
	await shown("final");
	await page.mouse.up();
	await shown("0");
	// Each lies there for a moment only.
	await page.evaluate(() => {
		const laid: string[] = [];
		document.body.dataset.laid = "";
		new MutationObserver((changes) => {
			for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes]))
				if (node instanceof HTMLElement && node.dataset.scale && node.dataset.scale !== laid.at(-1))
					laid.push(node.dataset.scale);
			document.body.dataset.laid = laid.join();
		}).observe(document.querySelector("#print-a") as HTMLElement, { childList: true, subtree: true });
	});
	await page.click("#play");
	await page.waitForSelector('body[data-laid$="final"]', { state: "attached" });
	expect(await page.getAttribute("body", "data-laid")).toBe("0,1,2,final");

	// In three formats and moving, each with its settings inside.
	const settings = { prompt: THREE_WORDS, seed: 7, model: "tiny", plan: { policy: "stagevar" } };
	for (const kind of ["png", "webp", "jpeg"]) {
		const { name, bytes } = await download(kind);
		expect(name).toBe(`a-photo-of-a-cat-7.${kind}`);
		expect((await sharp(bytes).metadata()).format).toBe(kind);
		expect(await readMetadata(bytes)).toMatchObject(settings);
	}
	const png = (await download("png")).bytes;
	expect(createHash("sha256").update(png).digest("hex")).toBe(final.sha256);
	const { name, bytes } = await download("animation");
	expect(name).toBe("a-photo-of-a-cat-7-scales.webp");
	const moving = await sharp(bytes, { animated: true }).metadata();
	expect([moving.pages, moving.width, moving.pageHeight, moving.loop]).toEqual([5, 64, 64, 0]);
	expect(await readMetadata(bytes)).toMatchObject(settings);
});

it("a model that draws classes is asked for a class", async () => {
	await open();
	await page.click("#settings summary");
	expect(await text("#model option")).toEqual(["tiny", "var-tiny"]);
	await page.selectOption("#model", "var-tiny");
	await page.keyboard.press("Escape");
	expect([await page.isVisible("#prompt"), await page.isVisible("#class"), await page.isVisible("#examples")]).toEqual([
		false,
		true,
		false,
	]);
	expect(await page.textContent("#subject-label")).toBe("Class, 0 to 9");
	expect(
		await page.$$eval('input[name="policy"]', (inputs) => inputs.map((input) => (input as HTMLInputElement).value)),
	).not.toContain("stagevar");
	await page.fill("#class", "7");
	await page.fill("#seed", "3");
	const queries = asked();
	await page.click("#go");
	await done();
	expect(Object.fromEntries(queries[0])).toEqual({
		class: "7",
		model: "var-tiny",
		seed: "3",
		policy: "exact",
		format: "png",
	});
	expect(await findings(page)).toEqual([]);
	await page.fill("#class", "10");
	await page.click("#go");
	expect(await page.textContent("#hint")).toBe("A class is a whole number from 0 to 9.");

	// Its address brings the same question back.
	await open(Object.fromEntries(new URL(page.url()).searchParams));
	await page.waitForSelector("#class:not([hidden])");
	expect([await page.inputValue("#class"), await page.inputValue("#seed")]).toEqual(["7", "3"]);
});

it("a plan that is settled on the way is drawn as it was settled", async () => {
	const query = { prompt: "a cat", seed: "5", policy: "skipvar" };
	const revision = (await events(query)).find(({ event }) => event === "revision");
	if (!revision) throw new Error("The plan was not revised.");
	const { plan } = revision.data as unknown as RevisionEvent;
	await open(query);
	expect(await page.isChecked('input[value="skipvar"]')).toBe(true);
	await page.click("#go");
	await done();
	expect((await film()).map((frame) => frame.split(" ")[1])).toEqual(
		plan.steps.map(({ kind }) => (kind === "skip" ? "skipped" : "done")),
	);
	expect((await text("#bar li")).length).toBe(plan.steps.filter(({ kind }) => kind === "run").length);
});

it("a model of several shapes is asked for one, and everything has it", async () => {
	await open();
	expect(await text("#schedule option")).toEqual(["square, 64×64", "tall, 48×96"]);
	const aspect = (selector: string) =>
		page.$eval(selector, (element) => {
			const { width, height } = element.getBoundingClientRect();
			return Number((width / height).toFixed(2));
		});
	expect(await aspect("#print-a .paper")).toBe(1);
	await page.selectOption("#schedule", "2:1");
	expect(await aspect("#print-a .paper")).toBe(0.5);
	expect(await text("#film b")).toEqual(["1×1", "1×2", "2×4", "3×6"]);
	await page.fill("#prompt", THREE_WORDS);
	await page.fill("#seed", "7");
	const queries = asked();
	await page.click("#go");
	await done();
	expect(queries[0].get("schedule")).toBe("2:1");
	const { sha256, width, height } = await finalOf(Object.fromEntries(queries[0]));
	expect([width, height, (await facts())["SHA-256"]]).toEqual([48, 96, sha256]);
	expect((await sharp((await download("png")).bytes).metadata()).height).toBe(96);
	expect(await aspect("#film li:last-child .cell")).toBe(0.5);

	// The code asks for it, and so does the address; the history brings it back, on a phone above the fold.
	await page.click('header [data-dialog="code"]');
	const code = () => page.textContent("#code");
	expect(await code()).toContain("schedule=2%3A1");
	await page.click('[data-code="python"]');
	expect(await code()).toContain('"size": "48x96"');
	await page.keyboard.press("Escape");
	await open(Object.fromEntries(new URL(page.url()).searchParams));
	expect([await page.inputValue("#schedule"), await aspect("#print-a .paper")]).toEqual(["2:1", 0.5]);
	await page.selectOption("#schedule", "1:1");
	await page.setViewportSize(PHONE);
	await page.click("#history li:first-child button");
	await done();
	expect(await page.inputValue("#schedule")).toBe("2:1");
	expect(await aspect("#print-a .paper")).toBe(0.5);
	const box = await (await page.$("#print-a .paper"))?.boundingBox();
	expect(box && box.y + box.height).toBeLessThan(PHONE.height);
	expect(await overflows(page)).toBe(false);
});
