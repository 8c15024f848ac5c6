/** A checkout has the bytes that were committed, as Git for Windows makes one too: models are known by their hashes. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bundledModels, openModelFolder } from "../../model-shards/open.ts";

const root = join(import.meta.dirname, "..", "..");
const dir = await mkdtemp(join(tmpdir(), "checkout-"));
afterAll(() => rm(dir, { recursive: true }));
const git = (cwd: string, ...args: string[]) =>
	execFileSync("git", args, { cwd, encoding: "utf8", stdio: "pipe", maxBuffer: 2 ** 26 });

it("with core.autocrlf no line's end is another", async () => {
	git(dir, "clone", "--quiet", "--shared", "--config", "core.autocrlf=true", root, "clone");
	const clone = join(dir, "clone");
	const changed = git(clone, "ls-files", "--eol")
		.split("\n")
		.filter((line) => /^i\/lf\s+w\/(?!lf)/.test(line));
	expect(changed).toEqual([]);
	for (const name of bundledModels()) {
		const [cloned, own] = await Promise.all(
			[clone, root].map((of) => openModelFolder(join(of, "model-shards", "models", name))),
		);
		expect(cloned.digest).toBe(own.digest);
	}
});
