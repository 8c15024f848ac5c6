/** The page in a real Chromium, against a real edge and a real GPU worker, which all its tests share. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Browser, Page } from "playwright-core";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { pageWeight } from "../../infra/page/bench.ts";
import { launch } from "../../infra/page/chromium.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import { findModel, openModelAt } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { readMetadata } from "../../worker/gpu/encode.ts";
import { policies } from "../../worker/policies/index.ts";
import type { FinalEvent, PlanEvent, RevisionEvent } from "../../worker/protocol/job.ts";
import { findings, overflows } from "./browser.ts";
import { sse } from "./firstlight.ts";
import { Parts } from "./parts.ts";

const reference = join(import.meta.dirname, "..", "reference");
const PHONE = { width: 390, height: 844 };
let parts: Parts;
let browser: Browser;
let dir: string;
let page: Page;
let problems: string[];
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-page-"));
	await importReferenceSet(join(reference, "var-tiny", "manifest.json"), join(dir, "var-tiny"));
	[parts, browser] = await Promise.all([
		Parts.start(`tiny,${join(dir, "var-tiny")}`, { PUBLIC_MODELS: "tiny" }),
		launch(),
	]);
});
afterAll(async () => {
	await browser?.close();
	await parts?.stop();
	await rm(dir, { recursive: true });
});
beforeEach(async () => {
	page = await newPage();
});
afterEach(async () => {
	await page.context().close();
	expect(problems).toEqual([]);
});

/** In a browser profile of its own. Nothing it asks for may come from elsewhere. */
async function newPage(): Promise<Page> {
	const context = await browser.newContext({ viewport: { width: 1366, height: 768 }, acceptDownloads: true });
	const page = await context.newPage();
	problems = [];
	page.on("pageerror", (error) => problems.push(String(error)));
	page.on("request", (request) => {
		if (!request.url().startsWith(parts.url) && !request.url().startsWith("blob:")) problems.push(request.url());
	});
	// Sketches of what is typed are a test of their own.
	await page.addInitScript(() => localStorage.getItem("live") ?? localStorage.setItem("live", "no"));
	return page;
}

/** With its lists, so that choices can be made. */
async function open(query: Record<string, string> = {}, at: Page = page): Promise<void> {
	await at.goto(`${parts.url}/?${new URLSearchParams(query)}`);
	await at.waitForSelector("#choices label");
}
const state = (name: string, at: Page = page) => at.waitForSelector(`body[data-state="${name}"]`, { timeout: 90_000 });
const done = async (at: Page = page) => {
	await state("done", at);
	await at.waitForSelector('#picture[data-scale="final"]');
};
/** Opens the list of all policies where it is needed. */
const choose = async (policy: string) => {
	const choice = `label:has(> input[value="${policy}"])`;
	if (!(await page.isVisible(choice))) await page.click("#more summary");
	await page.click(choice);
};
const text = (selector: string) => page.$$eval(selector, (elements) => elements.map((element) => element.textContent));
const status = () => page.textContent("#status");
const facts = async (at: Page = page): Promise<Record<string, string>> =>
	Object.fromEntries(
		await at.$eval("#facts", (list) =>
			[...list.querySelectorAll("dt")].map((term) => [term.textContent, term.nextElementSibling?.textContent ?? ""]),
		),
	);
const film = () =>
	page.$$eval("#film > li", (items) =>
		items.map((item) => `${(item as HTMLElement).dataset.stage} ${(item as HTMLElement).dataset.state}`),
	);
const asked = (at: Page = page): URLSearchParams[] => {
	const queries: URLSearchParams[] = [];
	at.on("request", (request) => {
		if (request.url().includes("/preview?")) queries.push(new URL(request.url()).searchParams);
	});
	return queries;
};
const download = async (kind: string): Promise<{ name: string; bytes: Buffer<ArrayBuffer> }> => {
	await page.click("#download-menu summary");
	const [file] = await Promise.all([page.waitForEvent("download"), page.click(`[data-download="${kind}"]`)]);
	return { name: file.suggestedFilename(), bytes: (await readFile(await file.path())) as Buffer<ArrayBuffer> };
};
const events = async (query: Record<string, string>) =>
	Array.fromAsync(sse(await fetch(`${parts.url}/v1/images/preview?${new URLSearchParams(query)}`)));
const finalOf = async (query: Record<string, string>) =>
	(await events({ cache: "false", ...query })).at(-1)?.data as unknown as FinalEvent;
const THREE_WORDS = "a photo of a cat";

it("opened before a worker is there it waits, says so, and goes on by itself", async () => {
	const response = await page.goto(parts.url);
	for (const [name, value] of [
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
	await parts.startWorker();
	await done();
	expect(await page.isVisible("#loading")).toBe(false);
	expect(await status()).toMatch(/^Picture finished in/);
});

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
	await page.click("#play");
	for (const scale of ["1", "2", "final"]) await shown(scale);

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
	expect(await text("#choices label")).toEqual(["Exact0.92 · 1.0×", "Balanced0.61 · 1.5×"]);
	expect(await page.textContent("#choice-note")).toMatch(/measured over 240 prompts on another; speeds differ on/);
	await page.click("#more summary");
	expect(await page.textContent('label:has([value="fastvar"])')).toMatch(/stagevar is at least as good and as fast/);
	await page.fill("#prompt", "a photo of a red apple");
	await choose("stagevar");
	await page.selectOption("#compare", "exact");
	const queries = asked();
	await page.click("#go");
	await state("running");
	// Both papers are in view while they are made.
	for (const id of ["#print-a", "#print-b"]) {
		const box = await (await page.$(id))?.boundingBox();
		expect(box && box.y + box.height).toBeLessThan(768);
	}
	await done();
	expect(queries.map((query) => query.get("policy"))).toEqual(["exact", "stagevar"]);
	expect(queries[0].get("seed")).toBe(queries[1].get("seed"));
	expect(await text("figcaption")).toEqual(["exact", "stagevar"]);
	expect(await status()).toMatch(/^stagevar took .*, exact .*: .* (saved|longer), \d+ %\.$/);
	expect(await page.textContent("#ghost-name")).toBe("All scales exact, measured here");
	expect(await page.getAttribute("#papers", "data-compare")).toBe("wipe");
	expect(await findings(page)).toEqual([]);

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
	await state("running");
	await done();
	expect([await page.isVisible("#print-b"), await page.isVisible("#comparison")]).toEqual([false, false]);
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
	await page.dblclick("#go");
	await state("running");
	expect(await height()).toBe(before);
	await done();

	// While the worker stands still: Enter asks for another picture, Stop and Esc for none.
	await parts.slice(async () => true);
	await page.click("#go");
	await page.fill("#prompt", "a photo of two horses");
	await page.press("#prompt", "Enter");
	await state("running");
	parts.goOn();
	await done();
	expect(queries.at(-1)?.get("prompt")).toBe("a photo of two horses");
	expect(await page.getAttribute("#picture", "alt")).toBe("a photo of two horses");
	await parts.slice(async () => true);
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

it("goes on where it was when the worker is killed, and when the edge is", async () => {
	await open({ prompt: THREE_WORDS, seed: "11" });
	const whole = await finalOf({ prompt: THREE_WORDS, seed: "11", format: "png" });
	const begun = async () => (await page.$$('#film > li[data-state="done"]')).length > 0;
	await parts.slice(async () => true);
	await page.click("#go");
	await parts.slice(begun);
	await parts.killWorker();
	await parts.startWorker();
	await done();
	expect((await facts())["SHA-256"]).toBe(whole.sha256);

	const again = await finalOf({ prompt: THREE_WORDS, seed: "12", format: "png" });
	await parts.slice(async () => true);
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

it("nine sketches differ, one is finished from its own codes, and its siblings share its first scales", async () => {
	await open();
	await page.fill("#prompt", "a photo of a cat");
	await page.selectOption("#count", "nine");
	const queries = asked();
	await page.click("#go");
	await state("done");
	expect(queries.length).toBe(9);
	expect(new Set(queries.map((query) => query.get("until")))).toEqual(new Set(["1"]));
	expect(await findings(page)).toEqual([]);
	const tiles = await page.$$eval("#tiles img:not(.leaving)", async (images) =>
		Promise.all(
			images.map(async (image) =>
				[...new Uint8Array(await (await fetch((image as HTMLImageElement).src)).arrayBuffer())].join(),
			),
		),
	);
	expect([tiles.length, new Set(tiles).size]).toEqual([9, 9]);
	await page.click("#tiles li:nth-child(4) button");
	expect(await page.textContent("#saving")).toMatch(/^A sketch/);
	await choose("stagevar");
	await page.click("#finish");
	await state("running");
	await done();
	const finished = Object.fromEntries(queries[9]) as Record<string, string>;
	expect(finished).toMatchObject({ policy: "stagevar", scales: "2", from: expect.stringMatching(/^[0-9a-f]{64}$/) });
	const { "SHA-256": sha, seed } = await facts();
	expect((await finalOf(finished)).sha256).toBe(sha);
	expect((await finalOf({ prompt: "a photo of a cat", seed, policy: "stagevar" })).sha256).toBe(sha);
	expect(await page.isVisible("#back")).toBe(true);

	await page.click("#film li:nth-child(2) button");
	await page.click("#siblings");
	await state("running");
	await state("done");
	const siblings = queries.slice(10).map((query) => Object.fromEntries(query) as Record<string, string>);
	expect(siblings.length).toBe(4);
	const made = await Promise.all(siblings.slice(0, 2).map((query) => events(query)));
	const scale = (which: number, index: number) =>
		made[which].find(({ event, data }) => event === "scale" && data.index === index)?.data.base64;
	expect(scale(0, 1)).toBe(scale(1, 1));
	expect(scale(0, 2)).not.toBe(scale(1, 2));
	await page.click("#tiles li:first-child button");
	expect((await facts())["first scales"]).toBe(`the first 2 of seed ${seed}`);
	const metadata = await readMetadata((await download("png")).bytes);
	expect(metadata).toMatchObject({ trunk: { seed: Number(seed), scales: 2 } });
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

it("a job of a sketch is told as a plan, its scales and a picture of that size", async () => {
	const sketch = await events({ prompt: THREE_WORDS, seed: "3", until: "1" });
	expect(sketch.map(({ event }) => event)).toEqual(["plan", "scale", "scale", "final"]);
	expect(sketch.at(-1)?.data).toMatchObject({ width: 32, height: 32 });
	const { job } = sketch[0].data as unknown as PlanEvent;
	const log = await events({ lastEventId: job });
	expect(log).toEqual(sketch);
	const refused = async (query: Record<string, string>) => {
		const answer = await fetch(`${parts.url}/v1/images/preview?${new URLSearchParams({ prompt: "a cat", ...query })}`);
		return [answer.status, (await answer.json()).error.param];
	};
	expect(await refused({ from: job, scales: "3" })).toEqual([400, "scales"]);
	expect(await refused({ from: job })).toEqual([400, "scales"]);
	expect(await refused({ from: "0".repeat(64), scales: "1" })).toEqual([404, "from"]);
	expect((await fetch(`${parts.url}/v1/jobs/${job}`, { method: "DELETE" })).status).toBe(204);
});

it("computes in this browser, with the codes of the engine elsewhere", async () => {
	await promisify(execFile)(process.execPath, ["infra/cli/cli.ts", "publish", "tiny"], {
		env: { ...process.env, STATE_DIR: parts.state },
	});
	expect((await fetch(`${parts.url}/v1/models/var-tiny/files/manifest.json`)).status).toBe(401);
	const own = await launch({ gpu: true });
	try {
		const page = await (await own.newContext()).newPage();
		const queries = asked(page);
		await open({ prompt: THREE_WORDS, seed: "7", policy: "stagevar" }, page);
		const loaded = () => page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
		expect((await loaded()).filter((name) => name.includes("engine"))).toEqual([]);
		await page.click("#settings summary");
		await page.check("#here");
		await page.keyboard.press("Escape");
		await page.click("#go");
		await done(page);
		expect(queries).toEqual([]);
		expect((await facts(page)).adapter).toMatch(/in this browser$/);
		expect(await page.$$("#film button")).toHaveLength(4);
		expect(await findings(page)).toEqual([]);

		const codes = await page.evaluate(
			([files, prompt]) =>
				new Promise<string[]>((resolve, reject) => {
					const codes: string[] = [];
					const engine = new Worker("engine.js", { type: "module" });
					engine.onmessage = ({ data }) => {
						if (data.kind === "event" && data.event.type === "scale") codes.push(data.event.codes);
						if (data.kind === "failed") reject(new Error(data.message));
						if (data.kind === "end") resolve(codes);
					};
					const ask = { prompt, seed: "7", policy: "stagevar", format: "png" };
					engine.postMessage({ kind: "make", id: 1, files: new URL(files, location.href).href, ask });
				}),
			["v1/models/tiny/files", THREE_WORDS],
		);
		const gpu = await openGpu();
		const model = await openModel(gpu, await openModelAt(findModel("tiny")));
		const plan = policies.stagevar.plan(model.info, {});
		const results = await Array.fromAsync(model.generate({ plan, prompt: THREE_WORDS, seed: 7, previews: "none" }));
		expect(codes).toEqual(
			results.flatMap((result) => (result.kind === "scale" ? Buffer.from(result.codes).toString("base64") : [])),
		);
		model.destroy();
		gpu.destroy();
	} finally {
		await own.close();
	}
});

it("weighs under 60 kB, and the engine that it loads when asked to under 250 kB", async () => {
	const { page, engine } = await pageWeight();
	expect(page).toBeLessThan(60_000);
	expect(engine).toBeLessThan(250_000);
});
