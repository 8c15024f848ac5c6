/** What an import leaves of what was in its place. In this process: nothing of it is computed. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { POLICIES_FILE } from "../../model-shards/format/policies.ts";
import { openModelFolder } from "../../model-shards/open.ts";
import { program } from "./program.ts";
import { Terminal } from "./terminal.ts";

const terminal = new Terminal(new AbortController().signal);
vi.spyOn(terminal, "print").mockReturnValue();

/** Tiny, to a folder. */
const imported = (out: string, ...more: string[]) =>
	program(terminal).parseAsync(["import", "tiny", "--out", out, "--quiet", ...more], { from: "user" });

async function folder(): Promise<{ out: string; policies: string }> {
	const out = await mkdtemp(join(tmpdir(), "firstlight-import-"));
	onTestFinished(() => rm(out, { recursive: true }));
	await imported(out);
	return { out, policies: join(out, POLICIES_FILE) };
}

it("what was measured of the same model stays", async () => {
	const { out, policies } = await folder();
	const held = JSON.parse(await readFile(policies, "utf8"));
	const trades = { exact: { score: 0.5, delta: 0, speedup: 1 } };
	await writeFile(policies, JSON.stringify({ ...held, trades }));
	await imported(out);
	expect((await openModelFolder(out)).info.trades).toEqual(trades);
});

it("what was measured of another that was there does not make the new one unreadable", async () => {
	const { out, policies } = await folder();
	const { digest } = await openModelFolder(out);
	await imported(out, "--dtype", "int8");
	const { info } = await openModelFolder(out);
	expect(info.digest).not.toBe(digest);
	expect(JSON.parse(await readFile(policies, "utf8")).model).toBe(info.digest);
});
