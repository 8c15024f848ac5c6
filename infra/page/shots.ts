/**
 * `npm run shots:page -- URL`: the page of a running Firstlight in each of its states, at the sizes and in the colours
 * that people have, into docs/page as WebP. To be looked at whenever the page changes.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import sharp from "sharp";
import { launch } from "./chromium.ts";

const out = join(import.meta.dirname, "..", "..", "docs", "page");
const url = process.argv[2] ?? "http://localhost:8787";
const PROMPT = "a photo of a giraffe";
const QUALITY = 45;

const desktop = { viewport: { width: 1440, height: 900 } };
const laptop = { viewport: { width: 1366, height: 768 } };
const phone = { viewport: { width: 390, height: 844 } };
const dark = { colorScheme: "dark" } as const;
const forced = { forcedColors: "active" } as const;

/** Each way leads the page into a state, and takes its picture wherever it calls `shot`. */
type Way = (page: Page, shot: (name: string) => Promise<void>) => Promise<void>;

const open = async (page: Page, query: Record<string, string> = {}) => {
	await page.goto(`${url}/?${new URLSearchParams(query)}`);
	await page.waitForSelector("#choices label");
};
const done = async (page: Page) => {
	await page.waitForSelector('body[data-state="done"]', { timeout: 120_000 });
	await page.waitForTimeout(800);
};
const scale = (page: Page, index: number) =>
	page.waitForSelector(`#film > li:nth-child(${index}) button`, { timeout: 120_000 });

const one: Way = async (page, shot) => {
	await open(page, { prompt: PROMPT, seed: "7", policy: "stagevar-auto" });
	await shot("idle");
	await page.click("#go");
	await scale(page, 5);
	await shot("running");
	await done(page);
	await shot("done");
};
const compared: Way = async (page, shot) => {
	await open(page, { prompt: "a photo of two horses", seed: "7", policy: "stagevar-auto", compare: "exact" });
	await page.click("#go");
	await page.waitForSelector("#picture-b[data-scale]", { timeout: 120_000 });
	await shot("compare-running");
	await done(page);
	await shot("compare");
};
const nine: Way = async (page, shot) => {
	await open(page, { prompt: "a photo of a blue boat and a red umbrella", seed: "4" });
	await page.selectOption("#count", "nine");
	await page.click("#go");
	await done(page);
	await shot("nine");
};
const words: Way = async (page, shot) => {
	await open(page);
	await page.fill("#prompt", "a photo of a red apple and a spaceship");
	await page.waitForSelector("#film > li:nth-child(4) button");
	await page.waitForTimeout(800);
	await shot("words");
};
const wrong: Way = async (page, shot) => {
	await open(page, { prompt: PROMPT, seed: "7", job: "0".repeat(64) });
	await page.waitForSelector('body[data-state="error"]');
	await shot("error");
};
const loading: Way = async (page, shot) => {
	await page.route("**/healthz", (route) =>
		route.fulfill({ status: 503, json: { status: "", workers: [], queue: 0 } }),
	);
	await page.goto(`${url}/?prompt=${encodeURIComponent(PROMPT)}`);
	await page.click("#go");
	await page.waitForTimeout(1500);
	await shot("loading");
};

const ALL: [name: string, options: BrowserContextOptions, ways: Way[]][] = [
	["desktop", desktop, [one, compared, nine, words, wrong, loading]],
	["laptop", laptop, [one, compared]],
	["phone", phone, [one, compared, nine]],
	["desktop-dark", { ...desktop, ...dark }, [one]],
	["phone-dark", { ...phone, ...dark }, [one]],
	["desktop-forced", { ...desktop, ...forced }, [one, compared]],
];
/** Of those that differ little, one is enough. */
const LEFT_OUT = [
	/^(laptop|desktop-dark|phone-dark|desktop-forced)-(idle|running|compare$)/,
	/^(desktop|phone|desktop-forced)-compare-running/,
];

async function take(
	browser: Browser,
	name: string,
	options: BrowserContextOptions,
	ways: readonly Way[],
): Promise<void> {
	const context = await browser.newContext(options);
	for (const way of ways) {
		const page = await context.newPage();
		await way(page, async (state) => {
			const file = `${name}-${state}`;
			if (LEFT_OUT.some((pattern) => pattern.test(file))) return;
			await sharp(await page.screenshot())
				.webp({ quality: QUALITY })
				.toFile(join(out, `${file}.webp`));
			console.log(file);
		});
		await page.close();
	}
	await context.close();
}

await mkdir(out, { recursive: true });
const browser = await launch();
try {
	const wanted = process.argv[3];
	for (const [name, options, ways] of ALL) if (!wanted || wanted === name) await take(browser, name, options, ways);
} finally {
	await browser.close();
}
