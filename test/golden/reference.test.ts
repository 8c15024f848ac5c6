/** The engine against the official code's recordings, on this machine's adapter, in Node and in Deno. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifySet } from "../../infra/verify/verify.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { findModel } from "../../model-shards/open.ts";

const root = join(import.meta.dirname, "..", "..");
const reference = (name: string) => join(root, "test", "reference", name);

describe("in Node", () => {
	let gpu: Gpu;
	beforeAll(async () => {
		gpu = await openGpu();
	});
	afterAll(() => gpu.destroy());

	it.each([
		["infinity-tiny", undefined, 2],
		["stagevar-infinity-tiny", undefined, 5],
		["infinity-patchify-tiny", undefined, 2],
		["fastvar-infinity-tiny", undefined, 2],
		["emoji-128", findModel("emoji-128"), 3],
		["var-tiny", undefined, 1],
		["star-tiny", undefined, 1],
		["stagevar-star-tiny", undefined, 1],
		["hart-tiny", undefined, 1],
	])("every recorded tensor of %s is within its bound", async (name, model, runs) => {
		const before = gpu.bytes;
		let count = 0;
		for await (const { name: run, comparisons } of verifySet(gpu, reference(name), model)) {
			count++;
			expect(comparisons.length, run).toBeGreaterThan(5);
			expect(
				comparisons.filter(({ ok }) => !ok),
				run,
			).toEqual([]);
		}
		expect(count).toBe(runs);
		expect(gpu.bytes).toBe(before);
	});
});

it.each([
	"infinity-tiny",
	"stagevar-infinity-tiny",
	"infinity-patchify-tiny",
	"fastvar-infinity-tiny",
	"var-tiny",
	"star-tiny",
	"stagevar-star-tiny",
	"hart-tiny",
])("Deno passes from the command line: %s", async (name) => {
	const deno = join(root, "node_modules", ".bin", "deno");
	const set = reference(name);
	const { stdout } = await promisify(execFile)(deno, ["run", "-A", "infra/cli/cli.ts", "verify", set], { cwd: root });
	expect(stdout).toContain("via wgpu");
	expect(stdout).toContain(`${set} · `);
	expect(stdout).toContain("All tensors are within their bounds.");
});
