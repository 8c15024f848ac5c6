/** Commands with --json, which fast and slow tests share. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { diskTuning } from "../../kernels/gpu/native/tune-cache.ts";
import { KERNELS_VERSION, trials } from "../../kernels/tune.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { kernelShapes } from "../../worker/engine/shapes.ts";
import { FaultyServer } from "../load/testing/faulty-server.ts";
import { firstlight } from "./testing.ts";

/** Commands that compile the kernels of several policies, or compute for long. */
export const SLOW: readonly string[] = ["bench", "calibrate", "soak"];

export const dir = await mkdtemp(join(tmpdir(), "json-"));
afterAll(() => rm(dir, { recursive: true }));
export const tiny = ["--model", "tiny"];
export const picture = join(dir, "pictures", "cat.webp");
export const evaluation = join(dir, "eval.jsonl");
const reference = join(import.meta.dirname, "..", "..", "test", "reference", "infinity-tiny");

/** An edge in name only, which does nothing wrong. */
const edge = await FaultyServer.start({});
afterAll(() => edge[Symbol.asyncDispose]());
const mix = join(dir, "mix.json");
await writeFile(mix, JSON.stringify({ requests: [{ prompts: "nothing", format: "png" }] }));

const ADMIN_SECRET = "admin-secret-0123456789";
/** A keyring in name only. */
const keyring = createServer((request, response) => {
	const known = request.headers.authorization === `Bearer ${ADMIN_SECRET}` && request.url?.startsWith("/v1/admin/");
	response.writeHead(known ? 200 : 401).end(known ? '{"object":"list","data":[]}' : "{}");
}).listen(0, "127.0.0.1");
await once(keyring, "listening");
afterAll(() => keyring.close());
const keyringUrl = `http://127.0.0.1:${(keyring.address() as AddressInfo).port}`;

const few = ["--prompts", "2", "--timings", "0", "--diversity", "0", "--policies", "exact"];
const CASES: Record<string, [args: string[], result: unknown]> = {
	generate: [
		["a cat", ...tiny, "--seed", "7", "--out", picture, "--scales-dir", join(dir, "scales")],
		{ out: picture, prompt: "a cat", seed: 7, width: 64, height: 64, scales: [{ scale: 0 }, {}, {}, {}] },
	],
	plan: [tiny, { policy: "exact", schedule: "1:1" }],
	models: [[], [{ name: "emoji-128" }, { name: "emoji-256" }, { name: "tiny", family: "infinity", draws: "text" }]],
	inspect: [["tiny"], { name: "tiny", total: { of: "all" }, precisions: { int8: {} } }],
	import: [["tiny", "--dtype", "int8", "--out", join(dir, "int8")], { name: "tiny-int8", shards: 1 }],
	verify: [[reference], { misses: 0, runs: [{ folder: reference, name: "sq", misses: 0 }, { name: "r2" }] }],
	keys: [["list", "--url", keyringUrl], { object: "list", data: [] }],
	workers: [["list", "--url", keyringUrl], { data: [] }],
	publish: [["tiny"], { name: "tiny", bucket: "firstlight-models", remote: false }],
	eval: [[...tiny, ...few, "--out", evaluation], { model: "tiny", policies: [{ policy: "exact" }] }],
	calibrate: [
		[...tiny, "--count", "1", "--out", join(dir, "calibration")],
		{ model: "tiny", schedule: "1:1", out: join(dir, "calibration", "policies.json"), calibration: {} },
	],
	paper: [[], [{ model: "Infinity-2B" }, { model: "Infinity-8B" }, { model: "STAR" }, { model: "HART" }]],
	tune: [tiny, { model: "tiny", cache: join(dir, "cache"), measured: {} }],
	bench: [[...tiny, "--pictures", "1", "--policies", "exact"], { pictures: { model: "tiny", pictures: 1 } }],
	load: [
		[edge.url, "--concurrency", "2", "--duration", "3", "--warmup", "0", "--mix", mix],
		{ valid: true, reasons: [] },
	],
	simulate: [["--workers", "2", "--seconds", "10", "--service", "200"], { broken: [], thrown: [], refused: 0 }],
	bundle: [["--out", join(dir, "bundle")], { folder: join(dir, "bundle"), bytes: { models: 0 } }],
	"bench-import": [["--size", "125m", "--dry"], { name: "infinity-125m", bytes_written: expect.any(Number) }],
	soak: [["tiny", "4", "--policies", "exact,stagevar"], { model: "tiny", pictures: 4 }],
};

/** Makes a test of each of these commands: with --json it writes one document to stdout, and nothing else. */
export function documentOf(names: readonly string[]): void {
	/** All that tune would measure of tiny, but its last shape, as if it had been measured: that takes long. */
	beforeAll(async () => {
		const gpu = await openGpu();
		const shapes = kernelShapes(await openModelFolder(findModel("tiny")));
		const known = Object.fromEntries(trials(shapes).map((trial) => [trial.key, trial.chosen(gpu).name]));
		delete known[trials(shapes).at(-1)?.key ?? ""];
		const disk = diskTuning(join(dir, "cache"));
		const { driver, name, runtime } = gpu.facts;
		disk.write([name, driver, runtime].join(" / "), KERNELS_VERSION, known);
		gpu.destroy();
	});

	it.each(names)("%s", async (name) => {
		const [args, result] = CASES[name];
		const env = { FIRSTLIGHT_CACHE: join(dir, "cache"), STATE_DIR: join(dir, "state"), ADMIN_SECRET };
		const { code, stdout, stderr } = await firstlight([name, ...args, "--json", "--quiet"], env);
		expect(stderr).toBe("");
		expect(code).toBe(0);
		expect(JSON.parse(stdout)).toMatchObject(result as object);
	});
}
