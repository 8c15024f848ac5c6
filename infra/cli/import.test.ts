/** What an import leaves of what was in its place. In this process: nothing of it is computed. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { MANIFEST_FILE } from "../../model-shards/format/manifest.ts";
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

it("files of the model that was there go with it, and no others", async () => {
	const { out } = await folder();
	const manifest = JSON.parse(await readFile(join(out, MANIFEST_FILE), "utf8"));
	const [{ file }] = manifest.shards;
	await rename(join(out, file), join(out, "shard-900.bin"));
	manifest.shards[0].file = "shard-900.bin";
	await writeFile(join(out, MANIFEST_FILE), JSON.stringify(manifest));
	await writeFile(join(out, "notes.txt"), "of whoever put it there");
	await imported(out);
	expect(existsSync(join(out, "shard-900.bin"))).toBe(false);
	expect(existsSync(join(out, "notes.txt"))).toBe(true);
	await openModelFolder(out);
});

it("a model is not checked against itself, which the new one would replace", async () => {
	const { out } = await folder();
	const before = await openModelFolder(out);
	await expect(imported(out, out, "--dtype", "int8", "--check")).rejects.toThrow(/--check needs the original/);
	expect((await openModelFolder(out)).digest).toBe(before.digest);
});

it("what was measured of another that was there does not make the new one unreadable", async () => {
	const [{ out, policies }, unmeasured] = [await folder(), await folder()];
	await rm(unmeasured.policies);
	expect(existsSync(policies)).toBe(true);
	await imported(out, unmeasured.out, "--name", "another");
	expect(existsSync(policies)).toBe(false);
	expect((await openModelFolder(out)).info.id).toBe("another");
});
