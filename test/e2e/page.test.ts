/** The page in a real Chromium, against a real edge and a real GPU worker. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import chromium from "@sparticuz/chromium";
import { type Browser, chromium as browserType, type Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import type { RevisionEvent } from "../../worker/protocol/job.ts";
import { Firstlight, sse } from "./firstlight.ts";

const reference = join(import.meta.dirname, "..", "reference");
const SHOTS = process.env.SCREENSHOTS;
let firstlight: Firstlight;
let browser: Browser;
let dir: string;
let page: Page;
let problems: string[];
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-page-"));
	await importReferenceSet(join(reference, "var-tiny", "manifest.json"), join(dir, "var-tiny"));
	firstlight = await Firstlight.start({ MODELS: `tiny,${join(dir, "var-tiny")}` });
});
afterAll(async () => {
	await firstlight?.stop();
	await rm(dir, { recursive: true });
});
beforeEach(async () => {
	browser = await browserType.launch({
		executablePath: await chromium.executablePath(),
		args: [...chromium.args, "--no-sandbox"],
		headless: true,
	});
	page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
	problems = [];
	page.on("pageerror", (error) => problems.push(String(error)));
});
afterEach(async () => {
	await browser.close();
	expect(problems).toEqual([]);
});

const done = () => page.waitForSelector('body[data-state="done"]', { timeout: 90_000 });
const text = (selector: string) => page.$$eval(selector, (elements) => elements.map((element) => element.textContent));
const shot = async (name: string) =>
	void (SHOTS && (await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true })));
const overflows = () =>
	page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

it("a model that draws classes is asked for a class", async () => {
	await page.goto(firstlight.url);
	await page.waitForSelector("#model-setting:not([hidden])");
	expect(await page.isVisible("#prompt")).toBe(true);
	expect(await text("#model option")).toEqual(["tiny", "var-tiny"]);
	await page.selectOption("#model", "var-tiny");
	expect([await page.isVisible("#prompt"), await page.isVisible("#class"), await page.isVisible("#examples")]).toEqual([
		false,
		true,
		false,
	]);
	expect(await page.textContent("#subject-label")).toBe("Class, 0 to 9");
	expect(
		await page.$$eval("#policy option:enabled", (options) =>
			options.map((option) => (option as HTMLOptionElement).value),
		),
	).not.toContain("stagevar");
	await page.fill("#class", "7");
	await page.fill("#seed", "3");
	const asked = page.waitForRequest("**/v1/images/preview?**");
	await page.click("#go");
	expect(Object.fromEntries(new URL((await asked).url()).searchParams)).toEqual({
		class: "7",
		model: "var-tiny",
		seed: "3",
		policy: "exact",
		format: "webp",
	});
	await done();
	expect(await page.textContent("#caption")).toBe("class 7");
	expect(await page.getAttribute("#download", "download")).toBe("class-7-3.webp");
	await page.fill("#class", "10");
	await page.click("#go");
	expect(await page.getAttribute("body", "data-state")).toBe("done");
	await shot("class");

	// Its address brings the same question back.
	await page.goto(page.url());
	await page.waitForSelector("#class:not([hidden])");
	expect([await page.inputValue("#class"), await page.inputValue("#model"), await page.inputValue("#seed")]).toEqual([
		"7",
		"var-tiny",
		"3",
	]);
	await page.selectOption("#model", "tiny");
	expect([await page.isVisible("#prompt"), await page.isVisible("#class")]).toEqual([true, false]);
});

it("two policies make one seed side by side, with plans, difference and times", async () => {
	await page.route("**/v1/models", async (route) => {
		const answer = await (await route.fetch()).json();
		answer.data[0].trades = {
			exact: { score: 0.919, delta: 0, speedup: 1 },
			stagevar: { score: 0.612, delta: -0.307, speedup: 1.49 },
		};
		await route.fulfill({ json: answer });
	});
	await page.goto(firstlight.url);
	await page.waitForSelector("#compare option:nth-child(2)", { state: "attached" });
	await page.fill("#prompt", "a photo of a red apple");
	await page.selectOption("#compare", "stagevar");
	expect(await page.textContent("#compare-note")).toMatch(
		/StageVAR: .*\. Measured: score 0\.612 \(−0\.307 to exact\), 1\.5× as fast/,
	);
	const asked: URLSearchParams[] = [];
	page.on(
		"request",
		(request) => request.url().includes("/preview?") && asked.push(new URL(request.url()).searchParams),
	);
	await page.click("#go");
	await done();
	expect(asked.map((query) => [query.get("policy"), query.get("format")])).toEqual([
		["exact", "png"],
		["stagevar", "png"],
	]);
	expect(asked[0].get("seed")).toBe(asked[1].get("seed"));
	expect(await text(".print figcaption")).toEqual(["exact", "stagevar"]);
	expect(
		await page.$$eval(".print", (prints) =>
			prints.map((print) =>
				[...print.querySelectorAll(".timeline li")].map(
					(item) => `${(item as HTMLElement).dataset.state} ${item.querySelectorAll("i").length}`,
				),
			),
		),
	).toEqual([
		["done 2", "done 2", "done 2", "done 2"],
		["done 2", "done 2", "done 1", "done 1"],
	]);
	expect(await page.getAttribute(".print:nth-of-type(2) li:last-child", "title")).toMatch(
		/^fidelity stage, text-free, \d+ % of the tokens$/,
	);

	// The difference, from the pictures as they can be downloaded.
	const pictures = await page.$$eval(".print [data-part=download]", async (links) =>
		Promise.all(
			links.map(async (link) => [
				...new Uint8Array(await (await fetch((link as HTMLAnchorElement).href)).arrayBuffer()),
			]),
		),
	);
	const [a, b] = await Promise.all(pictures.map((bytes) => sharp(Buffer.from(bytes)).removeAlpha().raw().toBuffer()));
	const mse = a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
	const psnr = `PSNR of stagevar to exact: ${(10 * Math.log10(255 ** 2 / mse)).toFixed(1)} dB.`;
	expect(await page.textContent("#difference-note")).toBe(`Absolute difference, 8 times as strong. ${psnr}`);
	expect(await page.textContent("#status")).toBe(psnr);
	const shown = await page.$eval("#difference", (canvas) => {
		const { width, height } = canvas as HTMLCanvasElement;
		return [
			...((canvas as HTMLCanvasElement).getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, width, height)
				.data,
		];
	});
	const expected = Array.from(a, (value, i) => Math.min(255, 8 * Math.abs(value - b[i])));
	expect(shown.filter((_, i) => i % 4 < 3)).toEqual(expected);

	expect(await text("#measures thead th")).toEqual(["", "exact", "stagevar"]);
	const measures = Object.fromEntries(
		(
			await page.$$eval("#measures tbody tr", (rows) =>
				rows.map((row) => [...row.children].map((cell) => cell.textContent)),
			)
		).map(([name, ...values]) => [name, values]),
	);
	expect(measures["picture, on the worker"]).toEqual(Array(2).fill(expect.stringMatching(/^(\d+ ms|\d+\.\d s)$/)));
	expect(measures.speed[1]).toMatch(/^\d+\.\d\d×$/);
	expect(Number(measures["tokens × rows"][1])).toBeLessThan(Number(measures["tokens × rows"][0]));
	expect(measures["measured score"]).toEqual(["0.919 (+0.000)", "0.612 (−0.307)"]);
	expect(measures["measured speed"]).toEqual(["1.00×", "1.49×"]);
	await shot("compare-desktop");
	expect(await overflows()).toBe(false);
	await page.setViewportSize({ width: 360, height: 740 });
	expect(await overflows()).toBe(false);
	await shot("compare-phone");
	await page.emulateMedia({ colorScheme: "dark" });
	await shot("compare-phone-dark");

	// One picture again: nothing of the second stays.
	await page.selectOption("#compare", "");
	await page.click("#go");
	await page.waitForSelector('body[data-state="running"]');
	await done();
	expect([await page.isVisible(".print:nth-of-type(2)"), await page.isVisible("#comparison")]).toEqual([false, false]);
	expect(await page.textContent("#caption")).toBe("a photo of a red apple");
	await shot("one-phone");
});

it("a policy compared with itself makes the same picture; stopped, both stop", async () => {
	await page.goto(`${firstlight.url}/?prompt=a+cat&seed=5&policy=stagevar&compare=stagevar`);
	await page.waitForFunction(() => (document.querySelector("#compare") as HTMLSelectElement).value === "stagevar");
	await page.click("#go");
	await done();
	expect(await page.textContent("#status")).toBe("stagevar and stagevar made the same picture.");
	await page.click("#go");
	await page.waitForSelector('#timeline li[data-state="done"]');
	await page.click("#go");
	await page.waitForSelector('body[data-state="idle"]');
	expect(await page.textContent("#status")).toBe("Stopped.");
	expect(await page.isVisible("#comparison")).toBe(false);
});

it("a plan that is settled on the way is drawn as it was settled", async () => {
	const query = new URLSearchParams({ prompt: "a cat", seed: "5", policy: "skipvar" });
	const events = await Array.fromAsync(sse(await fetch(`${firstlight.url}/v1/images/preview?${query}`)));
	const revision = events.find(({ event }) => event === "revision");
	if (!revision) throw new Error("The plan was not revised.");
	const { plan } = revision.data as unknown as RevisionEvent;
	await page.goto(`${firstlight.url}/?${query}`);
	await page.waitForFunction(() => (document.querySelector("#policy") as HTMLSelectElement).value === "skipvar");
	await page.click("#go");
	await done();
	expect(
		await page.$$eval("#timeline li", (items) =>
			items.map((item) => `${(item as HTMLElement).dataset.state} ${item.querySelectorAll("i").length}`),
		),
	).toEqual(
		plan.steps.map((step) => (step.kind === "skip" ? "skipped 1" : step.rows === "both" ? "done 2" : "done 1")),
	);
});

it("says why a request was refused", async () => {
	await page.goto(firstlight.url);
	await page.waitForSelector("#compare option:nth-child(2)", { state: "attached" });
	await page.fill("#prompt", "x");
	await page.fill("#seed", "9999999999");
	await page.click("#go");
	await page.waitForSelector('body[data-state="error"]');
	expect(await page.textContent("#status")).toMatch(/seed: must be at most 4294967295/);
});
