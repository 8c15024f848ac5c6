/** Two pictures of one seed. */
import sharp from "sharp";
import { expect } from "vitest";
import { faintControls, findings, overflows } from "../browser.ts";
import { asked, choose, done, it, open, PHONE, page, parts, state, status, THREE_WORDS, text } from "./setup.ts";

it("two policies make one seed, with a slider, difference and times", async () => {
	await page.route("**/v1/models", async (route) => {
		const answer = await (await route.fetch()).json();
		answer.data[0].trades = {
			exact: { score: 0.919, delta: 0, speedup: 1, adapter: "another", prompts: 240 },
			stagevar: { score: 0.612, delta: -0.307, speedup: 1.49, adapter: "another", prompts: 240 },
			fastvar: { score: 0.5, delta: -0.4, speedup: 1.2, adapter: "another", prompts: 240 },
		};
		await route.fulfill({ json: answer });
	});
	await open();
	// Only what no other one beats in both is offered first.
	expect(await text("#choices label")).toEqual(["Exact0.92 · 1.0×", "Fast0.61 · 1.5×"]);
	expect(await page.textContent("#choice-note")).toMatch(/measured over 240 prompts on another; speeds differ on/);
	await page.click("#more summary");
	expect(await page.textContent('label:has([value="fastvar"])')).toMatch(/stagevar is at least as good and as fast/);
	await page.fill("#prompt", "a photo of a red apple");
	await choose("stagevar");
	await page.selectOption("#compare", "exact");
	const queries = asked();
	// Both papers are in view while they are made, which takes a moment only.
	parts.halt();
	await page.click("#go");
	await state("running");
	for (const id of ["#print-a", "#print-b"]) {
		const box = await (await page.$(id))?.boundingBox();
		expect(box && box.y + box.height).toBeLessThan(768);
	}
	parts.goOn();
	await done();
	expect(queries.map((query) => query.get("policy"))).toEqual(["exact", "stagevar"]);
	expect(queries[0].get("seed")).toBe(queries[1].get("seed"));
	expect(await text("figcaption")).toEqual(["exact", "stagevar"]);
	expect(await status()).toMatch(/^stagevar took .*, exact .*: .* (saved|longer), \d+ %\.$/);
	expect(await page.textContent("#ghost-name")).toBe("All scales exact, measured here");
	expect(await page.getAttribute("#papers", "data-compare")).toBe("wipe");
	expect(await findings(page)).toEqual([]);
	expect(await faintControls(page)).toEqual([]);

	// The slider bares one picture or the other.
	const clip = () => page.$eval("#print-b .paper", (paper) => getComputedStyle(paper).clipPath);
	await page.focus("#wipe");
	await page.keyboard.press("Home");
	expect(await clip()).toBe("inset(0px 0px 0px 0%)");
	await page.keyboard.press("End");
	expect(await clip()).toBe("inset(0px 0px 0px 100%)");
	await page.hover("#swap");
	await page.mouse.down();
	expect(await page.$eval("#print-b", (print) => getComputedStyle(print).visibility)).toBe("hidden");
	await page.mouse.up();
	await page.click("#side");
	expect(await page.getAttribute("#papers", "data-compare")).toBe("side");

	// The difference, from the pictures themselves.
	const pictures = await page.$$eval(".paper > img:not(.leaving)", async (images) =>
		Promise.all(
			images.map(async (image) => [
				...new Uint8Array(await (await fetch((image as HTMLImageElement).src)).arrayBuffer()),
			]),
		),
	);
	const [a, b] = await Promise.all(pictures.map((bytes) => sharp(Buffer.from(bytes)).removeAlpha().raw().toBuffer()));
	const mse = a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
	const psnr = `PSNR of stagevar to exact: ${(10 * Math.log10(255 ** 2 / mse)).toFixed(1)} dB.`;
	expect(await page.textContent("#difference-note")).toBe(`Absolute difference, 8 times as strong. ${psnr}`);
	const drawn = await page.$eval("#difference", (canvas) => {
		const { width, height } = canvas as HTMLCanvasElement;
		return [
			...((canvas as HTMLCanvasElement).getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, width, height)
				.data,
		];
	});
	expect(drawn.filter((_, i) => i % 4 < 3)).toEqual(
		Array.from(a, (value, i) => Math.min(255, 8 * Math.abs(value - b[i]))),
	);
	const measures = Object.fromEntries(
		(
			await page.$$eval("#measures tbody tr", (rows) =>
				rows.map((row) => [...row.children].map((cell) => cell.textContent)),
			)
		).map(([name, ...values]) => [name, values]),
	);
	expect(measures.speed[1]).toMatch(/^\d+\.\d\d×$/);
	expect(Number(measures["tokens × rows"][1])).toBeLessThan(Number(measures["tokens × rows"][0]));
	expect(measures["measured score"]).toEqual(["0.919 (+0.000)", "0.612 (−0.307)"]);
	await page.setViewportSize(PHONE);
	expect(await overflows(page)).toBe(false);

	// One picture again: nothing of the second stays.
	await page.selectOption("#compare", "");
	await page.click("#go");
	await done();
	expect([await page.isVisible("#print-b"), await page.isVisible("#comparison")]).toEqual([false, false]);
});

it("a picture that is asked for in the midst of a comparison is made alone, and lies alone on the table", async () => {
	await open({ prompt: THREE_WORDS });
	await choose("stagevar");
	const queries = asked();
	for (const [within, policies] of [
		// The first of two pictures is stored: the second one is not begun.
		["add", ["exact", "stagevar"]],
		// Both are there, and their pixels are being read.
		["createImageBitmap", ["exact", "stagevar", "stagevar"]],
	] as const) {
		await page.selectOption("#compare", "exact");
		await page.evaluate((within) => {
			const of: any = within === "add" ? IDBObjectStore.prototype : globalThis;
			const before = of[within];
			of[within] = function (...all: unknown[]) {
				of[within] = before;
				const compare = document.querySelector("#compare") as HTMLSelectElement;
				compare.value = "";
				compare.dispatchEvent(new Event("change", { bubbles: true }));
				document.querySelector<HTMLButtonElement>("#go")?.click();
				return before.apply(this, all);
			};
		}, within);
		await page.click("#go");
		await done();
		expect(queries.splice(0).map((query) => query.get("policy"))).toEqual(policies);
		expect([await page.isVisible("#print-b"), await page.isVisible("#comparison")]).toEqual([false, false]);
		expect(await page.getAttribute("#papers", "data-compare")).toBe("none");
		expect(await status()).toMatch(/^Picture finished in/);
	}
});
