/** A run that was measured, played again: its arrivals and its workers' times, through the edge's own pool. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import { distributionOf } from "../distribution.ts";
import type { Summary } from "../summary.ts";

const run = promisify(execFile);
const cli = join(import.meta.dirname, "..", "..", "cli", "cli.ts");
const { info: TINY } = await openModelFolder(findModel("tiny"));
const DATE = "2026-11-30T00:00:00.000Z";

/** Forty requests of tiny, one every 100 ms, each of which took its worker 150. */
function recording(outcome = "completed", reader = "steady"): { summary: Partial<Summary>; lines: object[] } {
	const lines = Array.from({ length: 40 }, (_, i) => ({
		metadata: {
			request_intended_ns: (new Date(DATE).getTime() + 100 * i) * 1e6,
			model: "tiny",
			policy: "exact",
			outcome,
			reader,
		},
		metrics: { scale_service: { value: [10, 20, 30, 40], unit: "ms" }, service: { value: 150, unit: "ms" } },
	}));
	const counted = { findings: [], counts: {}, faults: {}, errors: {}, refusals: {}, retry_after: {}, policies: {} };
	const summary: Summary = {
		...counted,
		tool: "firstlight load",
		format: 1,
		date: DATE,
		valid: true,
		reasons: [],
		target: { url: "http://localhost", adapters: ["one"], models: [{ id: "tiny", digest: TINY.digest }] },
		load: { kind: "open" },
		goodput: null,
		client: {},
		seconds: { measured: 4, warmup: 0, all: 4 },
		rates: { offered: 10, completed: 6.5, good: null, attainment: null },
		metrics: { wait: distributionOf(lines.map((_, i) => 50 * i)) },
		preview_bytes: {},
		cancel_to_release_ms: null,
	};
	return { summary, lines };
}

async function simulated({ summary, lines }: ReturnType<typeof recording>, ...more: string[]) {
	const folder = await mkdtemp(join(tmpdir(), "firstlight-recording-"));
	onTestFinished(() => rm(folder, { recursive: true }));
	await writeFile(join(folder, "summary.json"), JSON.stringify(summary));
	await writeFile(join(folder, "requests.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
	const { stdout } = await run(process.execPath, [
		cli,
		"simulate",
		"--json",
		"--like",
		folder,
		"--workers",
		"1",
		...more,
	]);
	return JSON.parse(stdout);
}

it("waits as its requests waited", async () => {
	const { outcome, seen } = await simulated(recording());
	expect(outcome).toMatchObject({ requests: 40, completed: 40, refused: 0, broken: [], policies: { exact: 40 } });
	// One worker, 150 ms for what comes every 100: each waits 50 ms more than the one before.
	expect(seen).toMatchObject({ p50: expect.closeTo(950, -2), throughput: 6.5 });
	expect(outcome.waitMs.p50 / seen.p50).toBeCloseTo(1, 1);
	expect(outcome.throughput / seen.throughput).toBeCloseTo(1, 1);
});

it.each([
	["that is none", () => ({ ...recording(), lines: [{}] }), /requests.jsonl is none of firstlight load's/],
	["without a picture", () => recording("refused"), /No picture of .* was completed/],
	["whose readers left", () => recording("completed", "cancel"), /left early/],
	[
		"of a closed model",
		() => ({ ...recording(), summary: { ...recording().summary, load: { kind: "closed" } } }),
		/open model/,
	],
] as const)("refuses a run %s", async (_, made, message) => {
	await expect(simulated(made())).rejects.toThrow(message);
});

it("refuses a run of another model, and what the run itself says", async () => {
	await expect(simulated(recording(), "--model", "emoji-128")).rejects.toThrow(/not of emoji-128 alone.*names tiny/);
	await expect(simulated(recording(), "--policies", "exact")).rejects.toThrow(/cannot be used with option '--policies/);
});
