/** What publishing says: while it works, and of what it cannot put. In this process, and wrangler's. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import { MANIFEST_FILE, manifestDigest } from "../../model-shards/format/manifest.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { program } from "./program.ts";
import { Terminal } from "./terminal.ts";

const dir = await mkdtemp(join(tmpdir(), "publish-"));
afterAll(() => rm(dir, { recursive: true }));
vi.stubEnv("STATE_DIR", dir);
const terminal = new Terminal(new AbortController().signal);
vi.spyOn(terminal, "print").mockReturnValue();
const publish = (...args: string[]) => program(terminal).parseAsync(["publish", ...args], { from: "user" });

it("says how far the upload is", async () => {
	const say = vi.spyOn(terminal, "say").mockReturnValue();
	const progress = vi.spyOn(terminal, "progress");
	await publish("tiny");
	expect(progress).toHaveBeenCalledWith(expect.stringContaining("of the model checked"));
	const { shards } = (await openModelFolder(findModel("tiny"))).manifest;
	// Tokenizer, manifest and what was measured come with the shards.
	const files = shards.length + 3;
	expect(say.mock.calls.flat()).toContainEqual(expect.stringMatching(`100% \\(${files} out of ${files}\\)`));
});

it("says what can be done with a model that wrangler cannot put", async () => {
	const path = join(dir, MANIFEST_FILE);
	const manifest = JSON.parse(await readFile(join(findModel("tiny"), MANIFEST_FILE), "utf8"));
	const largest = Math.max(...manifest.tensors.map(({ bytes }: { bytes: number }) => bytes));
	const tensor = manifest.tensors.find(({ bytes }: { bytes: number }) => bytes === largest);
	manifest.tokenizer = null;
	manifest.shards[0].bytes = 445 * 2 ** 20;
	await writeFile(path, JSON.stringify(manifest));
	const digest = await manifestDigest(await readFile(path));
	const what =
		`shard-000.bin has 466616320 bytes, and wrangler puts at most 314572800: tensor ${tensor.name} alone has ` +
		`${largest}.`;
	await expect(publish(dir)).rejects.toThrow(
		new ModelFormatError(`${what} Let the workers read the folder itself: MODELS=${dir}.`),
	);
	await expect(publish(dir, "--remote")).rejects.toThrow(
		new ModelFormatError(
			`${what} Put all of it into the bucket with an S3 client, which R2 takes too, under these keys and the last ` +
				`one last:\n  files/${manifest.shards[0].sha256}  shard-000.bin\n  files/${digest.slice(7)}  manifest.json\n` +
				`  models/tiny.json  a file with {"digest":"${digest}"}`,
		),
	);
});
