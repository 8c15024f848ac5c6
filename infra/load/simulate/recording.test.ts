/** A run that was measured, played again: its arrivals and its workers' times, through the edge's own pool. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import type { Summary } from "../summary.ts";
import { readRecording } from "./recording.ts";

const run = promisify(execFile);
const cli = join(import.meta.dirname, "..", "..", "cli", "cli.ts");
const { info: TINY } = await openModelFolder(findModel("tiny"));
const DATE = "2026-11-30T00:00:00.000Z";

/** Milliseconds until a worker that is free has begun. */
const WAY = 5;

/** Forty requests of tiny, one every 100 ms, each of which took its worker 150 and the way to it. */
function recording(outcome = "completed", reader = "steady"): { summary: Partial<Summary>; lines: object[] } {
	const lines = Array.from({ length: 40 }, (_, i) => ({
		metadata: {
			request_intended_ns: (new Date(DATE).getTime() + 100 * i) * 1e6,
			benchmark_phase: "profiling",
			in_flight: i - Math.floor((100 * i) / 150),
			model: "tiny",
			policy: "exact",
			outcome,
			reader,
		},
		metrics: {
			time_to_first_preview_from_start: { value: WAY + i * (50 + WAY) + 10, unit: "ms" },
			scale_service: { value: [10, 20, 30, 40], unit: "ms" },
			service: { value: 150, unit: "ms" },
		},
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
		metrics: {},
		preview_bytes: {},
		cancel_to_release_ms: null,
	};
	return { summary, lines };
}

async function folderOf({ summary, lines }: ReturnType<typeof recording>): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), "firstlight-recording-"));
	onTestFinished(() => rm(folder, { recursive: true }));
	await writeFile(join(folder, "summary.json"), JSON.stringify(summary));
	await writeFile(join(folder, "requests.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
	return folder;
}

it("waits as its requests waited", async () => {
	// In a process of its own, whose clocks are its own.
	const args = ["simulate", "--json", "--like", await folderOf(recording()), "--workers", "1"];
	const { outcome, seen } = JSON.parse((await run(process.execPath, [cli, ...args])).stdout);
	expect(outcome).toMatchObject({ requests: 40, completed: 40, refused: 0, broken: [], policies: { exact: 40 } });
	// One worker, 155 ms for what comes every 100: each waits 55 ms more than the one before.
	expect(seen).toMatchObject({ p50: expect.closeTo(1050, -2), throughput: 6.5 });
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
	await expect(readRecording(await folderOf(made()), TINY, 1)).rejects.toThrow(message);
});

it("refuses a run of another model", async () => {
	const other = { ...TINY, id: "emoji-128" };
	await expect(readRecording(await folderOf(recording()), other, 1)).rejects.toThrow(
		/not of emoji-128 alone.*names tiny/,
	);
});
