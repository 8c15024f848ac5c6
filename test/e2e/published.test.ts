/** A model on its way from R2 through the edge to a GPU worker, over a line that breaks. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { Firstlight, sse } from "./firstlight.ts";

const root = join(import.meta.dirname, "..", "..");
const local = await openModelFolder(findModel("tiny"));
const [shard] = local.manifest.shards;
let firstlight: Firstlight;
let cache: string;
const workers = new Set<ChildProcess>();
beforeAll(async () => {
	firstlight = await Firstlight.start({ GPU_WORKERS: "0" });
	cache = await mkdtemp(join(tmpdir(), "firstlight-cache-"));
});
afterEach(() => {
	for (const worker of workers) worker.kill("SIGKILL");
});
afterAll(async () => {
	await firstlight?.stop();
	await rm(cache, { recursive: true });
});

/**
 * A line to the edge that breaks `cuts` times after so many bytes of one connection's answers. Keeps what was asked.
 */
async function breakingLine(cuts: number, after: number) {
	const asked: string[] = [];
	const server = createServer((client) => {
		const edge = connect(Number(new URL(firstlight.url).port), "localhost");
		let came = 0;
		client.on("data", (data) => {
			asked.push(...(String(data).match(/^(GET .*|range: .*|if-range: .*)$/gim) ?? []));
			edge.write(data);
		});
		edge.on("data", (data) => {
			if (client.destroyed) return;
			client.write(data);
			if ((came += data.length) > after && cuts-- > 0) client.destroy();
		});
		for (const [end, other] of [
			[client, edge],
			[edge, client],
		])
			end.on("close", () => other.destroy()).on("error", () => {});
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

/** A worker process until it is admitted; gives its log and ends it. */
async function untilAdmitted(settings: Record<string, string>): Promise<{ log: () => string; stop(): Promise<void> }> {
	const worker = spawn(process.execPath, [join(root, "worker", "gpu", "main.ts")], {
		env: { ...process.env, ...firstlight.workerSettings(), FIRSTLIGHT_CACHE: cache, ...settings },
		stdio: ["ignore", "pipe", "inherit"],
	});
	workers.add(worker);
	worker.once("exit", () => workers.delete(worker));
	let log = "";
	worker.stdout.on("data", (data) => (log += data));
	while (!log.includes("admitted")) {
		if (worker.exitCode !== null) throw new Error(`the worker ended with ${worker.exitCode}:\n${log}`);
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
	return {
		log: () => log,
		async stop() {
			worker.kill("SIGTERM");
			if (worker.exitCode === null) await once(worker, "exit");
		},
	};
}

it("a model is published while the edge runs", async () => {
	expect(await firstlight.cli("publish", "tiny")).toContain(`/v1/models/${local.digest}/files`);
	const url = `${firstlight.url}/v1/models/tiny/files`;
	expect((await fetch(`${url}/manifest.json`)).status).toBe(401);
	expect(await firstlight.cli("inspect", url)).toContain(`tiny, family infinity, ${local.digest}`);
});

it("a worker loads it through the edge, goes on where the line broke, and makes the same pictures", async () => {
	const line = await breakingLine(2, 750_000);
	const worker = await untilAdmitted({ EDGE_URL: line.url, MODELS: `${line.url}/v1/models/tiny/files` });
	expect(worker.log()).toMatch(/model tiny: 100 % of 2\.2 MB/);
	expect(worker.log()).toMatch(/model tiny loaded and warm/);
	expect(await readdir(cache)).toContain(shard.sha256);
	const ranges = line.asked
		.filter((text) => text.startsWith("Range") || text.startsWith("range"))
		.map((text) => Number(/bytes=(\d+)-/.exec(text)?.[1]));
	expect(ranges).toHaveLength(2);
	expect(ranges[0]).toBeGreaterThan(500_000);
	expect(ranges[1]).toBeGreaterThan(ranges[0]);
	expect(line.asked.filter((text) => /^if-range/i.test(text))).toEqual(Array(2).fill(`If-Range: "${shard.sha256}"`));

	const picture = async () =>
		(await Array.fromAsync(sse(await fetch(`${firstlight.url}/v1/images/preview?prompt=a+cat&cache=false&seed=5`)))).at(
			-1,
		);
	const remote = await picture();
	expect(remote).toMatchObject({ event: "final", data: { digest: local.digest } });
	await worker.stop();
	const other = await untilAdmitted({});
	expect((await picture())?.data.sha256).toBe(remote?.data.sha256);
	await other.stop();
	line.close();
}, 300_000);

it("a second start asks for manifest and measurements alone, and the digest's address serves as well", async () => {
	const line = await breakingLine(0, 0);
	const worker = await untilAdmitted({ EDGE_URL: line.url, MODELS: `${line.url}/v1/models/${local.digest}/files` });
	expect(line.asked.filter((text) => text.includes("/files/"))).toEqual(
		["manifest", "policies"].map((file) => `GET /v1/models/${local.digest}/files/${file}.json HTTP/1.1`),
	);
	const { calibration } = (await (await fetch(`${firstlight.url}/v1/models/tiny`)).json()) as ModelInfo;
	expect(calibration).toEqual(local.info.calibration);
	await worker.stop();
	line.close();
});

it("a worker whose model is not there says so and ends", async () => {
	await expect(untilAdmitted({ MODELS: `${firstlight.url}/v1/models/nope/files` })).rejects.toThrow(
		/nope\/files\/manifest\.json cannot be downloaded: the server answers 404/,
	);
});
