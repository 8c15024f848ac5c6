/**
 * `npm run shots:page -- URL [WAY]`: the page of a running Firstlight in each of its states, at the sizes and in the
 * colours that people have, into docs/page as WebP. To be looked at whenever the page changes.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import sharp from "sharp";
import { DEFAULT_MODEL } from "../../model-shards/open.ts";
import { launch } from "./chromium.ts";

const out = join(import.meta.dirname, "..", "..", "docs", "page");
const url = process.argv[2] ?? "http://localhost:8787";
const PROMPT = "a photo of a giraffe";
const QUALITY = 45;

/** Sizes and colours that people have. */
const LOOKS = {
	desktop: { width: 1440, height: 900 },
	phone: { width: 390, height: 844 },
	"desktop-dark": { width: 1440, height: 900, colorScheme: "dark" },
	"desktop-forced": { width: 1440, height: 900, forcedColors: "active" },
} as const;

/** Each way leads the page into states, and takes the picture of each in every look. */
type Way = (page: Page, shot: (state: string) => Promise<void>) => Promise<void>;

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
	await done(page);
	await shot("done");
};
const running: Way = async (page, shot) => {
	await open(page, { prompt: PROMPT, seed: "7", policy: "exact" });
	await page.click("#go");
	await scale(page, 3);
	await shot("running");
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
	const loading = [{ model: DEFAULT_MODEL, part: "kernels", done: 0.62 }];
	await page.route("**/healthz", (route) =>
		route.fulfill({ status: 503, json: { status: "no-workers", workers: [], models: [], loading, queue: 0 } }),
	);
	await page.goto(`${url}/?prompt=${encodeURIComponent(PROMPT)}`);
	await page.click("#go");
	await page.waitForTimeout(1500);
	await shot("loading");
};
/** Of an edge that was started with `API_KEYS=required`. */
const keyed: Way = async (page, shot) => {
	await page.goto(`${url}/?prompt=${encodeURIComponent(PROMPT)}`);
	await page.waitForSelector("#key-dialog[open]");
	await shot("key");
};

/** In this order, but for `keyed`, which is asked for by its name. */
const WAYS: Record<string, Way> = { one, running, compared, nine, words, wrong, loading };

async function take(browser: Browser, way: Way): Promise<void> {
	const context = await browser.newContext({ viewport: LOOKS.desktop });
	const page = await context.newPage();
	await way(page, async (state) => {
		for (const [name, { width, height, ...colours }] of Object.entries(LOOKS)) {
			await page.setViewportSize({ width, height });
			await page.emulateMedia({ colorScheme: "light", forcedColors: "none", ...colours });
			await sharp(await page.screenshot())
				.webp({ quality: QUALITY })
				.toFile(join(out, `${name}-${state}.webp`));
			console.log(`${name}-${state}`);
		}
		await page.setViewportSize(LOOKS.desktop);
		await page.emulateMedia({ colorScheme: "light", forcedColors: "none" });
	});
	await context.close();
}

await mkdir(out, { recursive: true });
const browser = await launch();
try {
	const wanted = process.argv[3];
	if (wanted === "keyed") await take(browser, keyed);
	for (const [name, way] of Object.entries(WAYS)) if (!wanted || wanted === name) await take(browser, way);
} finally {
	await browser.close();
}
