/** The kernels in a real Chromium, on the SwiftShader that comes with it: nothing that they import is of Node. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";
import chromium from "@sparticuz/chromium";
import { type Browser, chromium as browserType } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openGpu } from "./gpu/native/open.ts";
import { block } from "./testing-block.ts";

const root = join(import.meta.dirname, "..");
let server: Server;
let url: string;
let browser: Browser | undefined;

beforeAll(async () => {
	server = createServer((request, response) => {
		const { pathname } = new URL(request.url as string, "http://localhost");
		if (pathname === "/") return response.setHeader("content-type", "text/html").end("<!doctype html><title>kernels");
		try {
			const source = readFileSync(join(root, normalize(pathname)), "utf8");
			response.setHeader("content-type", "text/javascript").end(stripTypeScriptTypes(source));
		} catch {
			response.writeHead(404).end();
		}
	}).listen(0);
	await once(server, "listening");
	url = `http://localhost:${(server.address() as AddressInfo).port}`;
});
afterEach(() => browser?.close());
afterAll(() => server.close());

/** What `expression` settles to in a page where `open` is the module that opens the browser's adapter. */
async function inPage(flags: readonly string[], expression: string): Promise<unknown> {
	const args = [...chromium.args, "--no-sandbox", ...flags];
	browser = await browserType.launch({ executablePath: await chromium.executablePath(), args, headless: true });
	const page = await browser.newPage();
	await page.goto(url);
	return await page.evaluate(`(async () => {
		const open = await import("/kernels/gpu/browser/open.ts");
		return await (${expression});
	})()`);
}

test("opens the browser's adapter and gives the bits that Node does", async () => {
	const { facts, kept, bytes, words } = (await inPage(
		["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
		`open.openGpu().then(async (gpu) => {
			await import("/kernels/choices.ts");
			const { block } = await import("/kernels/testing-block.ts");
			const start = gpu.bytes;
			const words = await block(gpu);
			return { facts: gpu.facts, kept: gpu.tuningStore !== undefined, bytes: gpu.bytes - start, words };
		})`,
	)) as { facts: object; kept: boolean; bytes: number; words: number[] };
	expect(facts).toMatchObject({ runtime: "browser", software: true, lanes: 4 });
	expect(facts).toHaveProperty("name", expect.stringMatching(/\(software, on the CPU\) via the browser$/));
	expect(facts).toHaveProperty("driver", expect.stringMatching(/swiftshader.* \/ .*Chrome\/\d+/));
	expect([kept, bytes]).toEqual([false, 0]);
	const gpu = await openGpu();
	expect(words).toEqual(await block(gpu));
	gpu.destroy();
});

test("a browser without WebGPU says what to do", async () => {
	expect(
		await inPage(
			["--disable-features=WebGPU", "--disable-blink-features=WebGPU"],
			`open.openGpu().then(() => "opened", ({ name, message }) => name + ": " + message)`,
		),
	).toMatch(/^DeviceError: (This browser has no WebGPU here|No WebGPU adapter was found).*Update the browser/);
});
