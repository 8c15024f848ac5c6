/** As interrupt.test.ts, of commands that take longer to begin. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Running } from "./testing.ts";

const dir = await mkdtemp(join(tmpdir(), "interrupt-"));
afterAll(() => rm(dir, { recursive: true }));

/** Ctrl-C ends whatever runs within so many milliseconds. */
const SOON = 2000;
const [HIDE, SHOW] = ["\x1b[?25l", "\x1b[?25h"];

it("Ctrl-C in mid-measurement ends calibrate and leaves no file", { retry: 2 }, async () => {
	const out = join(dir, "calibration");
	using running = Running.onTerminal("calibrate", "--model", "tiny", "--count", "500", "--out", out);
	await running.until((text) => text.includes("2/500"));
	const { code, milliseconds } = await running.interrupt();
	expect(code).toBe(130);
	expect(milliseconds).toBeLessThan(SOON);
	expect(running.text.lastIndexOf(SHOW)).toBeGreaterThan(running.text.lastIndexOf(HIDE));
	expect(await readdir(out)).toEqual([]);
});

it("Ctrl-C between pictures ends bench, and leaves no report", { retry: 2 }, async () => {
	const json = join(dir, "bench", "bench.json");
	const args = ["--model", "tiny", "--policies", "exact", "--pictures", "5000", "--json", json];
	using running = Running.onTerminal("bench", ...args);
	await running.until((text) => text.includes("2/5000"));
	const { code, milliseconds } = await running.interrupt();
	expect(code).toBe(130);
	expect(milliseconds).toBeLessThan(SOON);
	expect(await readdir(join(dir, "bench"))).toEqual([]);
});
