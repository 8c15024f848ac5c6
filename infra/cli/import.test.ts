/** What an import leaves of what was in its place. In this process: nothing of it is computed. */
import { existsSync } from "node:fs";
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

const imported = (out: string, model = "tiny", ...more: string[]) =>
	program(terminal).parseAsync(["import", model, "--out", out, "--quiet", ...more], { from: "user" });

/** With tiny in it. */
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
	const [{ out, policies }, unmeasured] = [await folder(), await folder()];
	await rm(unmeasured.policies);
	expect(existsSync(policies)).toBe(true);
	await imported(out, unmeasured.out, "--name", "another");
	expect(existsSync(policies)).toBe(false);
	expect((await openModelFolder(out)).info.id).toBe("another");
});
