/** The engine in the browser itself. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { expect } from "vitest";
import { launch } from "../../../infra/page/chromium.ts";
import { openGpu } from "../../../kernels/gpu/native/open.ts";
import { findModel, openModelAt } from "../../../model-shards/open.ts";
import { openModel } from "../../../worker/engine/open.ts";
import { policies } from "../../../worker/policies/index.ts";
import { findings } from "../browser.ts";
import { asked, done, facts, it, open, parts, THREE_WORDS } from "./setup.ts";

/** What a test keeps where it runs: in the page the engine's worker, in the worker the devices that it opened. */
type Kept = typeof globalThis & { engine: Worker; devices: GPUDevice[] };

const TINY = "v1/models/tiny/files";

/** In a browser with WebGPU, by an edge that hands out the files of tiny. */
async function withGpu(body: (page: Page) => Promise<void>): Promise<void> {
	await promisify(execFile)(process.execPath, ["infra/cli/cli.ts", "publish", "tiny"], {
		env: { ...process.env, STATE_DIR: parts.state },
	});
	const own = await launch({ gpu: true });
	try {
		await body(await (await own.newContext()).newPage());
	} finally {
		await own.close();
	}
}

it("computes in this browser, with the codes of the engine elsewhere", async () => {
	await withGpu(async (page) => {
		expect((await fetch(`${parts.url}/v1/models/var-tiny/files/manifest.json`)).status).toBe(401);
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
			[TINY, THREE_WORDS],
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
	});
});

it("a picture's name is never given again, by another engine neither", async () => {
	await withGpu(async (page) => {
		await open({}, page);
		const names = await page.evaluate(
			([files, prompt]) =>
				Promise.all(
					[1, 2].map(
						() =>
							new Promise<string>((resolve, reject) => {
								const engine = new Worker("engine.js", { type: "module" });
								engine.onmessage = ({ data }) => {
									if (data.kind === "event" && data.event.type === "plan") resolve(data.event.job);
									if (data.kind === "failed") reject(new Error(data.message));
								};
								const ask = { prompt, seed: "7", policy: "exact", until: "0", format: "png" };
								engine.postMessage({ kind: "make", id: 1, files: new URL(files, location.href).href, ask });
							}),
					),
				),
			[TINY, THREE_WORDS],
		);
		expect(names.every((name) => name.startsWith("here-"))).toBe(true);
		expect(new Set(names).size).toBe(2);
	});
});

it("opens another device where the one it had is lost, and leaves none behind", async () => {
	await withGpu(async (page) => {
		await open({}, page);
		const [engine] = await Promise.all([
			page.waitForEvent("worker"),
			page.evaluate(() => {
				(globalThis as Kept).engine = new Worker("engine.js", { type: "module" });
			}),
		]);
		await engine.evaluate(() => {
			const devices: GPUDevice[] = ((globalThis as Kept).devices = []);
			const { requestDevice } = GPUAdapter.prototype;
			GPUAdapter.prototype.requestDevice = async function (asked) {
				const device = await requestDevice.call(this, asked);
				devices.push(device);
				return device;
			};
		});
		/** What is wrong, or that nothing is. */
		const make = (files: string) =>
			page.evaluate(
				([files, prompt]) =>
					new Promise<string>((resolve) => {
						const { engine } = globalThis as Kept;
						engine.onmessage = ({ data }: MessageEvent) => {
							if (data.kind === "failed") resolve(data.message);
							if (data.kind === "end") resolve("made");
						};
						const ask = { prompt, seed: "7", policy: "exact", until: "0", format: "png" };
						engine.postMessage({ kind: "make", id: 1, files: new URL(files, location.href).href, ask });
					}),
				[files, THREE_WORDS],
			);
		/** Of each device so far, whether it is gone. */
		const gone = () =>
			engine.evaluate(() => {
				const later = () => new Promise<boolean>((resolve) => setTimeout(resolve, 500, false));
				const devices: GPUDevice[] = (globalThis as Kept).devices;
				return Promise.all(devices.map(({ lost }) => Promise.race([lost.then(() => true), later()])));
			});

		expect(await make(TINY)).toBe("made");
		await engine.evaluate(async () => {
			const [device] = (globalThis as Kept).devices;
			device.destroy();
			await device.lost;
		});
		expect(await make(TINY)).toBe("made");
		expect(await gone()).toEqual([true, false]);
		// In place of a model comes another one, which cannot be had.
		expect(await make("v1/models/none/files")).toMatch(/manifest\.json cannot be downloaded/);
		expect(await gone()).toEqual([true, true, true]);
	});
});
