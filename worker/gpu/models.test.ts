/** A model of the edge, as a worker opens it: from a server that stands for the edge. */
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { reckoned } from "../engine/open.ts";
import { memoryNeed } from "../engine/paper/memory.ts";
import { REGISTER_PATH } from "../protocol/messages.ts";
import { openFolder, settledOf } from "./models.ts";
import { readSettings } from "./settings.ts";

it("reads the shards that a name stood for, by tokens that end, whatever is published under it later", async () => {
	const [first, later] = [findModel("tiny"), findModel("emoji-128")];
	const { digest } = await openModelFolder(first);
	const folders: Record<string, string> = { some: first, [digest]: first };
	let age = 0;
	const edge = createServer(async (request, response) => {
		const path = decodeURIComponent(`${request.url}`);
		if (path === REGISTER_PATH) {
			const { models } = JSON.parse((await Array.fromAsync(request)).join("")) as { models: string[] };
			const tokens = models.map((model) => [model, `${model} ${age}`]);
			response.setHeader("content-type", "application/json");
			return response.end(JSON.stringify({ token: "t", expires: 2e9, models: Object.fromEntries(tokens) }));
		}
		const [, model, file] = /^\/v1\/models\/([^/]+)\/files\/([^/]+)$/.exec(path) ?? [];
		if (request.headers.authorization !== `Bearer ${model} ${age}`) return response.writeHead(401).end();
		response.end(await readFile(join(folders[model], file)));
	}).listen(0, "127.0.0.1");
	await once(edge, "listening");
	const EDGE_URL = `http://127.0.0.1:${(edge.address() as AddressInfo).port}`;
	const cache = await mkdtemp(join(tmpdir(), "models-"));
	// Nothing is kept, as where a disk is small: every load asks the edge.
	vi.stubEnv("FIRSTLIGHT_CACHE", cache);
	vi.stubEnv("FIRSTLIGHT_CACHE_GB", "0");
	try {
		const settings = readSettings({ WORKER_SECRET: "0123456789abcdef", EDGE_URL });
		const folder = await openFolder(`${EDGE_URL}/v1/models/some/files`, settings, () => {});
		expect(folder.digest).toBe(digest);
		folders.some = later;
		for (age of [0, 1, 2]) {
			const names: string[] = [];
			for await (const { name } of folder.tensors()) names.push(name);
			expect(names).toHaveLength(folder.manifest.tensors.length);
		}
	} finally {
		vi.unstubAllEnvs();
		edge.closeAllConnections();
		edge.close();
		await rm(cache, { recursive: true });
	}
});

it("a budget is settled for as many pictures as it holds without their new texts waiting for each other", async () => {
	const gpu = await sharedGpu();
	const folder = await openModelFolder(findModel("emoji-128"));
	const { bindingBytes } = gpu;
	const setting = { slots: 4, bindingBytes };
	const memory = memoryNeed(folder, { ...setting, encoder: "visits" }).total;
	const asked = { slots: 4, memory };
	expect(reckoned(gpu, folder, asked).visits).toBe(true);
	const { options, bytes } = settledOf(gpu, folder, asked);
	expect(options.slots).toBeLessThan(4);
	expect(bytes).toBeLessThanOrEqual(memory);
	expect(reckoned(gpu, folder, options).visits).toBe(false);
	// As many as there is room for.
	expect(settledOf(gpu, folder, { slots: 4 }).options.slots).toBe(4);
	const [one, three] = [1, 3].map((slots) => memoryNeed(folder, { slots, bindingBytes }).total);
	expect(settledOf(gpu, folder, { slots: 64, memory: one }).options.slots).toBe(1);
	expect(settledOf(gpu, folder, { slots: 64, memory: three }).options.slots).toBeGreaterThanOrEqual(3);
	expect(settledOf(gpu, folder, { slots: 3, memory: three }).options.slots).toBe(3);
	expect(() => settledOf(gpu, folder, { slots: 4, memory: 1000 })).toThrow(/^MEMORY: The 1000 bytes that are given/);
});
