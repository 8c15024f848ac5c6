/**
 * `npm run bench:page`: what a preview costs the page, in the Chromium that comes with the project. Thirty previews of
 * 256 x 256 come a tenth of a second apart, several times over. Each is timed from the moment when the last of its
 * bytes is in the page's hands: until its pixels are drawn in the document, and until the page's part of the frame that
 * shows them has ended, for which a clock of 60 Hz alone takes 8 ms in the mean. Other programs only ever make it
 * slower: what counts is the run that they disturbed least. Beside that, what the page weighs.
 */
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import sharp from "sharp";
import { DEFAULT_MODEL, findModel, openModelAt } from "../../model-shards/open.ts";
import { policies } from "../../worker/policies/index.ts";
import type { JobEvent } from "../../worker/protocol/job.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { buildPage, SITE } from "./build.ts";
import { launch } from "./chromium.ts";

const EVENTS = 30;
const SIDE = 256;
const GAP_MS = 100;

const RUNS = 5;

/** Milliseconds of each preview. */
export interface PageCost {
	/** From its bytes to pixels in the document. */
	drawn: number[];
	/** The decoder's part of that. */
	decoded: number[];
	/** From its bytes to the end of its frame. */
	framed: number[];
}

/** Gzipped bytes of what the page loads, and of the engine that it loads when it is asked for. */
export async function pageWeight(site = SITE): Promise<{ page: number; engine: number }> {
	const weigh = async (files: string[]) => {
		const sizes = await Promise.all(
			files.map(async (file) => (await promisify(gzip)(await readFile(join(site, file)), { level: 9 })).length),
		);
		return sizes.reduce((sum, size) => sum + size, 0);
	};
	const files = (await readdir(site)).filter((file) => /\.(html|css|js|svg)$/.test(file));
	return { page: await weigh(files.filter((file) => file !== "engine.js")), engine: await weigh(["engine.js"]) };
}

/** Makes a page show so many previews, and times each. */
export async function pageCost(site = SITE): Promise<PageCost> {
	const info = await modelOfManyScales();
	const pictures = await Promise.all(Array.from({ length: EVENTS }, (_, i) => picture(i)));
	const server = createServer((request, response) => {
		const { pathname } = new URL(request.url as string, "http://localhost");
		if (pathname === "/v1/images/preview") return void stream(response, info, pictures);
		const answer = answers(info)[pathname];
		if (answer) return void response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
		const file = pathname === "/" ? "index.html" : pathname.slice(1);
		const type = { js: "text/javascript", css: "text/css", html: "text/html", svg: "image/svg+xml" }[
			file.split(".").at(-1) ?? ""
		];
		readFile(join(site, file)).then(
			(bytes) => response.setHeader("content-type", type ?? "application/octet-stream").end(bytes),
			() => response.writeHead(404).end(),
		);
	}).listen(0);
	await once(server, "listening");
	const browser = await launch();
	try {
		const page = await browser.newPage({ viewport: { width: 1366, height: 768 } });
		await page.addInitScript(watchPreviews);
		await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/?prompt=a+cat&seed=1`);
		await page.waitForSelector("#choices label");
		await page.click("#go");
		await page.waitForSelector('body[data-state="done"]', { timeout: 60_000 });
		return await page.evaluate(() => (globalThis as unknown as { cost: PageCost }).cost);
	} finally {
		await browser.close();
		server.close();
	}
}

/** Runs in the page before its scripts. A preview begins with the newest bytes read when it is parsed. */
function watchPreviews(): void {
	const cost: PageCost = { drawn: [], decoded: [], framed: [] };
	Object.assign(globalThis, { cost });
	const arrived = new Map<string, number>();
	let newest = 0;
	const { read } = ReadableStreamDefaultReader.prototype;
	ReadableStreamDefaultReader.prototype.read = async function () {
		const chunk = await read.call(this);
		newest = performance.now();
		return chunk;
	};
	const parse = JSON.parse;
	JSON.parse = (text, ...rest) => {
		const value = parse(text, ...rest);
		if (value?.type === "scale") arrived.set(String(value.index), newest);
		return value;
	};
	const { decode } = ImageDecoder.prototype;
	ImageDecoder.prototype.decode = async function (...options) {
		const begun = performance.now();
		const decoded = await decode.apply(this, options);
		cost.decoded.push(performance.now() - begun);
		return decoded;
	};
	addEventListener("DOMContentLoaded", () => {
		const paper = document.querySelector("#print-a .paper") as HTMLElement;
		new MutationObserver((changes) => {
			const scale = changes
				.flatMap(({ addedNodes }) => [...addedNodes])
				.find((node): node is HTMLElement => node instanceof HTMLElement && node.dataset.scale !== undefined)
				?.dataset.scale;
			const from = arrived.get(scale ?? "");
			if (from === undefined) return;
			cost.drawn.push(performance.now() - from);
			requestAnimationFrame(() => {
				const { port1, port2 } = new MessageChannel();
				port1.onmessage = () => cost.framed.push(performance.now() - from);
				port2.postMessage(null);
			});
		}).observe(paper, { childList: true });
	});
}

/** The default model's description, with a schedule of as many scales as there are previews. */
async function modelOfManyScales(): Promise<ModelInfo> {
	const { info } = await openModelAt(findModel(DEFAULT_MODEL));
	const grids = Array.from({ length: EVENTS }, (): [number, number] => [16, 16]);
	return {
		...info,
		schedules: { "1:1": { grids, image: { width: SIDE, height: SIDE } } },
		defaultSchedule: "1:1",
		calibration: {},
	};
}

function answers(info: ModelInfo): Record<string, unknown> {
	return {
		"/v1/models": { data: [info] },
		"/v1/policies": { data: [{ name: "exact", title: "Exact", models: { [info.id]: ["1:1"] } }] },
		"/healthz": { status: "ok", queue: 0, workers: [{ adapter: "none", busy: 0, slots: 1 }] },
	};
}

async function stream(response: ServerResponse, info: ModelInfo, pictures: readonly string[]): Promise<void> {
	response.setHeader("content-type", "text/event-stream");
	const send = (n: number, event: JobEvent) =>
		response.write(`event: ${event.type}\nid: ${"0".repeat(64)}.${n}\ndata: ${JSON.stringify(event)}\n\n`);
	const plan = policies.exact.plan(info, {});
	const { grids } = info.schedules["1:1"];
	const size = { width: SIDE, height: SIDE };
	send(0, { type: "plan", job: "0".repeat(64), model: info.id, policy: "exact", seed: 1, ...size, plan, grids });
	for (const [index, base64] of pictures.entries()) {
		await new Promise((resolve) => setTimeout(resolve, GAP_MS));
		const milliseconds = GAP_MS;
		const where = { index, grid: grids[index], stage: "semantic" as const, step: index + 1, steps: EVENTS };
		send(index + 1, { type: "scale", ...where, milliseconds, codes: "", mime: "image/png", base64 });
	}
	const [base64] = pictures;
	const final = { seed: 1, ...size, milliseconds: 1, base64, sha256: "0".repeat(64), digest: info.digest };
	send(EVENTS + 1, { type: "final", ...final, mime: "image/png", numerics: "", adapter: "none" });
	response.end();
}

/** Pictures that this engine made, side by side: a part of them is as hard to decode as a preview. */
const SHEET = join(import.meta.dirname, "..", "..", "docs", "bench", "emoji-128-sheet.webp");

/** Another part for every number. */
async function picture(n: number): Promise<string> {
	const { width, height } = await sharp(SHEET).metadata();
	const place = { left: (n * 97) % (width - SIDE), top: (n * 53) % (height - SIDE), width: SIDE, height: SIDE };
	return (await sharp(SHEET).extract(place).png().toBuffer()).toString("base64");
}

if (import.meta.main) {
	const site = await mkdtemp(join(tmpdir(), "firstlight-page-"));
	try {
		await buildPage(site);
		const runs: PageCost[] = [];
		while (runs.length < RUNS) runs.push(await pageCost(site));
		const at = (times: number[], share: number) =>
			times.toSorted((a, b) => a - b)[Math.floor(share * (times.length - 1))];
		const ms = (times: number[], share: number) => `${at(times, share).toFixed(1).padStart(6)} ms`;
		const row = (name: string, times: number[]) =>
			console.log(`${name.padEnd(28)} median ${ms(times, 0.5)}   95 % ${ms(times, 0.95)}   most ${ms(times, 1)}`);
		const [best] = runs.toSorted((a, b) => at(a.drawn, 0.95) - at(b.drawn, 0.95));
		console.log(`${EVENTS} previews of ${SIDE} x ${SIDE}, the least disturbed of ${RUNS} runs`);
		row("event to pixels drawn", best.drawn);
		row("  of that, decoding", best.decoded);
		row("event to end of its frame", best.framed);
		console.log(`medians of all runs, pixels drawn: ${runs.map(({ drawn }) => ms(drawn, 0.5).trim()).join(", ")}`);
		const { page, engine } = await pageWeight(site);
		console.log(`page ${(page / 1000).toFixed(1)} kB gzipped, engine ${(engine / 1000).toFixed(1)} kB`);
	} finally {
		await rm(site, { recursive: true });
	}
}
