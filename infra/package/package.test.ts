/** The package as its user has it: packed, unpacked beside its two dependencies, and run where it says it runs. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createGunzip } from "node:zlib";
import chromium from "@sparticuz/chromium";
import { build } from "esbuild";
import { type Browser, chromium as browserType } from "playwright-core";
import { extract } from "tar-fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { findModel } from "../../model-shards/open.ts";
import { buildPackage } from "./build.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..", "..");
const PACKED_BYTES = 2 * 2 ** 20;
/** The project's own Node and Deno. */
const bin = (name: string) => join(root, "node_modules", ".bin", name);

let dir: string;
let tarball: string;
let reportChanged: boolean;

/** An empty project with the package, its dependencies, and what makes a machine without a GPU run it. */
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-package-"));
	({ reportChanged } = await buildPackage(join(dir, "build")));
	const { stdout } = await run("npm", ["pack", join(dir, "build"), "--json", "--pack-destination", dir], { cwd: dir });
	tarball = join(dir, JSON.parse(stdout)[0].filename);
	await writeFile(join(dir, "package.json"), JSON.stringify({ private: true, type: "module" }));
	const modules = join(dir, "node_modules");
	await mkdir(join(modules, "@huggingface"), { recursive: true });
	await mkdir(join(modules, "@sparticuz"));
	await unpack(tarball, join(modules, "firstlight"));
	for (const name of ["zod", "@huggingface/tokenizers", "webgpu", "@sparticuz/chromium", "tar-fs"])
		await symlink(join(root, "node_modules", name), join(modules, name));
	await cp(join(import.meta.dirname, "examples"), join(dir, "examples"), { recursive: true });
	await cp(findModel("tiny"), join(dir, "examples", "model"), { recursive: true });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function unpack(archive: string, into: string): Promise<void> {
	const extracted = extract(into, {
		// npm packs everything into a folder of that name.
		map: (header) => ({ ...header, name: header.name.replace(/^package\//, "") }),
	});
	await pipeline(createReadStream(archive), createGunzip(), extracted);
}

const scales = (text: string) =>
	text
		.split("\n")
		.filter((line) => line.startsWith("{"))
		.map((line) => JSON.parse(line));

it("is small, needs two packages, and has the face that the report says", async () => {
	expect((await stat(tarball)).size).toBeLessThan(PACKED_BYTES);
	const manifest = JSON.parse(await readFile(join(dir, "node_modules", "firstlight", "package.json"), "utf8"));
	expect(Object.keys(manifest.dependencies).sort()).toEqual(["@huggingface/tokenizers", "zod"]);
	expect(manifest).toMatchObject({ name: "firstlight", license: "MIT", engines: { node: expect.any(String) } });
	expect(reportChanged, "If the change of the public face is meant: npm run build -- --report").toBe(false);
});

it("its types are those of a user's program", async () => {
	const options = [
		"--noEmit",
		"--strict",
		"--module",
		"nodenext",
		"--target",
		"es2024",
		"--lib",
		"esnext,dom,dom.iterable",
	];
	const types = ["--typeRoots", join(root, "node_modules", "@types"), "--types", "node"];
	await symlink(join(root, "node_modules", "@webgpu"), join(dir, "node_modules", "@webgpu"));
	const files = ["node.ts", "browser.ts", "deno.ts"].map((file) => join(dir, "examples", file));
	await run(bin("tsc"), [...options, ...types, ...files], { cwd: dir });
});

it("runs in Node, Deno and a browser, with the same codes in Node and the browser", async () => {
	const model = join(dir, "examples", "model");
	const node = await run(process.execPath, ["examples/node.ts", model, "a photo of a cat", "node.ppm"], { cwd: dir });
	const made = scales(node.stdout);
	expect(made.map(({ scale }) => scale)).toEqual([0, 1, 2, 3]);
	expect((await readFile(join(dir, "node.ppm"))).length).toBe(64 * 64 * 3 + "P6 64 64 255\n".length);

	const deno = ["run", "-A", "--node-modules-dir=manual", "examples/deno.ts", model, "a photo of a cat", "deno.ppm"];
	expect(scales((await run(bin("deno"), deno, { cwd: dir })).stdout).map(({ scale }) => scale)).toEqual([0, 1, 2, 3]);
	expect((await readFile(join(dir, "deno.ppm"))).length).toBe(64 * 64 * 3 + "P6 64 64 255\n".length);

	expect(await inBrowser("?prompt=a+photo+of+a+cat")).toEqual(made);
});

/** What the browser's example writes, bundled as a user would, in the Chromium that comes with the project. */
async function inBrowser(query: string): Promise<unknown[]> {
	const pages = join(dir, "examples");
	await build({
		entryPoints: [join(pages, "browser.ts")],
		outfile: join(pages, "browser.js"),
		bundle: true,
		format: "esm",
		logLevel: "error",
	});
	const server: Server = createServer((request, response) => {
		const { pathname } = new URL(request.url as string, "http://localhost");
		const type = pathname.endsWith(".js") ? "text/javascript" : pathname.endsWith(".html") ? "text/html" : "";
		readFile(join(pages, normalize(pathname))).then(
			(bytes) => response.setHeader("content-type", type || "application/octet-stream").end(bytes),
			() => response.writeHead(404).end(),
		);
	}).listen(0);
	await once(server, "listening");
	let browser: Browser | undefined;
	try {
		browser = await browserType.launch({
			executablePath: await chromium.executablePath(),
			args: [...chromium.args, "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
		});
		const page = await browser.newPage();
		await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/browser.html${query}`);
		await page.waitForFunction(() => document.title !== "working", undefined, { timeout: 200_000 });
		const text = (await page.textContent("pre")) ?? "";
		if ((await page.title()) !== "done") throw new Error(text);
		return scales(text);
	} finally {
		await browser?.close();
		server.close();
	}
}
