import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openModelFolder } from "../../model-shards/open.ts";
import { FaultyServer } from "../load/testing/faulty-server.ts";
import { firstlight, Running } from "./testing.ts";

// What stays of other commands is in interrupt.long.test.ts.
const dir = await mkdtemp(join(tmpdir(), "interrupt-"));
afterAll(() => rm(dir, { recursive: true }));

/** Ctrl-C ends whatever runs within so many milliseconds. */
const SOON = 2000;
const [HIDE, SHOW] = ["\x1b[?25l", "\x1b[?25h"];

it("Ctrl-C in mid-picture ends generate, gives the cursor back and leaves no picture", { retry: 2 }, async () => {
	const out = join(dir, "pictures", "cut.png");
	using running = Running.onTerminal("generate", "a photo of a red apple", "--seed", "7", "--out", out);
	await running.until((text) => text.includes("scale 1/9"));
	const { code, milliseconds } = await running.interrupt();
	expect(code).toBe(130);
	expect(milliseconds).toBeLessThan(SOON);
	expect(running.text).toContain("Interrupted.");
	expect(running.text.lastIndexOf(HIDE)).toBeGreaterThan(-1);
	expect(running.text.lastIndexOf(SHOW)).toBeGreaterThan(running.text.lastIndexOf(HIDE));
	expect(await readdir(join(dir, "pictures"))).toEqual([]);
});

it("an import that is told to end (SIGTERM) leaves what was in its place, and nothing of its own", {
	retry: 2,
}, async () => {
	const out = join(dir, "model");
	const made = await firstlight(["import", "tiny", "--out", out]);
	expect(made).toMatchObject({ code: 0 });
	const [before, { digest }] = [await readdir(out), await openModelFolder(out)];
	using running = Running.byPipes("import", "emoji-128", "--dtype", "int8", "--out", out);
	await running.until(() => existsSync(out) && readdirSync(out).some((file) => file.endsWith(".part")));
	const { code, milliseconds } = await running.interrupt("SIGTERM");
	expect(code).toBe(143);
	expect(milliseconds).toBeLessThan(SOON);
	expect(await readdir(out)).toEqual(before);
	expect((await openModelFolder(out)).digest).toBe(digest);
});

it("an interrupted load says what it has, and that it is not to be believed", { retry: 2 }, async () => {
	await using edge = await FaultyServer.start({});
	const mix = join(dir, "mix.json");
	await writeFile(mix, JSON.stringify({ requests: [{ prompts: "nothing", format: "png" }] }));
	const out = join(dir, "load");
	const args = ["--concurrency", "2", "--duration", "60", "--warmup", "0", "--mix", mix, "--out", out];
	using running = Running.byPipes("load", edge.url, ...args);
	await running.until(() => edge.begun > 8);
	const { code, milliseconds } = await running.interrupt("SIGINT");
	expect(code).toBe(130);
	expect(milliseconds).toBeLessThan(SOON);
	const { valid, reasons, counts } = JSON.parse(await readFile(join(out, "summary.json"), "utf8"));
	expect(valid).toBe(false);
	expect(reasons).toContain("The run was interrupted.");
	expect(counts.completed).toBeGreaterThan(0);
	expect(counts.faulty).toBe(0);
	expect(running.text).toContain("NOT VALID.");
});

it("an interrupted evaluation says where it stays and goes on from there", { retry: 2 }, async () => {
	const out = join(dir, "eval.jsonl");
	await rm(out, { force: true });
	const args = ["--model", "tiny", "--policies", "exact", "--timings", "0", "--diversity", "0", "--out", out];
	using running = Running.byPipes("eval", ...args, "--prompts", "all");
	const pictures = (text: string) => text.split("\n").filter((line) => line.includes('"picture"')).length;
	await running.until(() => existsSync(out) && pictures(readFileSync(out, "utf8")) >= 4);
	const { code, milliseconds } = await running.interrupt("SIGINT");
	expect(code).toBe(130);
	expect(milliseconds).toBeLessThan(SOON);
	expect(running.text).toContain(`What was measured is in ${out}`);
	const held = pictures(await readFile(out, "utf8"));
	const { code: again, stdout } = await firstlight(["eval", "--from", out, "--json"]);
	expect(again).toBe(0);
	expect(JSON.parse(stdout).policies[0].quality.pictures).toBe(held);
});
