import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import { MANIFEST_FILE } from "../../model-shards/format/manifest.ts";
import { readVerified } from "../../model-shards/format/source/files.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { fileKey, manifestHash, nameKey, POLICIES_FILE, policiesKey } from "../../worker/protocol/model-files.ts";
import { stateDir, WRANGLER_ENV, wrangler } from "../start/wrangler.ts";
import { parse, UsageError } from "./usage.ts";

/** The most that wrangler puts as one object. */
const MAX_PUT_BYTES = 300 * 2 ** 20;

/**
 * Puts a model folder into the bucket of `npm start`, or with --remote into Cloudflare's: files by their hashes, then
 * the name.
 */
export async function publishCommand(args: string[]): Promise<number> {
	const { positionals, values } = parse({
		args,
		allowPositionals: true,
		options: { remote: { type: "boolean", default: false }, bucket: { type: "string", default: "firstlight-models" } },
	});
	if (positionals.length !== 1) throw new UsageError("publish takes one model folder, or a bundled model's name.");
	if (!/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(values.bucket))
		throw new UsageError(`--bucket ${values.bucket} is no bucket's name.`);
	const dir = findModel(positionals[0]);
	const { manifest, digest } = await openModelFolder(dir);
	const files = [...manifest.shards, ...(manifest.tokenizer ? [manifest.tokenizer] : [])];
	for (const entry of files) {
		if (entry.bytes > MAX_PUT_BYTES) {
			const instead = `Import the model again into smaller shards, or put the file as ${fileKey(entry.sha256)} with an S3 client.`;
			throw new ModelFormatError(
				`${entry.file} has ${entry.bytes} bytes; wrangler puts at most ${MAX_PUT_BYTES}. ${instead}`,
			);
		}
		await readVerified(dir, entry);
	}
	const where = values.remote
		? ["--remote"]
		: ["--local", "--persist-to", join(resolve(process.env.STATE_DIR ?? stateDir()), "edge")];
	const list = await mkdtemp(join(tmpdir(), "firstlight-publish-"));
	try {
		const put = async (name: string, objects: { key: string; file: string }[]) => {
			await writeFile(join(list, name), JSON.stringify(objects));
			await run(wrangler("r2", "bulk", "put", values.bucket, "--filename", join(list, name), ...where));
		};
		await writeFile(join(list, "name.json"), JSON.stringify({ digest }));
		const hash = manifestHash(digest);
		const objects = [
			...files.map(({ file, sha256 }) => ({ key: fileKey(sha256), file })),
			{ key: fileKey(hash), file: MANIFEST_FILE },
		];
		if (existsSync(join(dir, POLICIES_FILE))) objects.push({ key: policiesKey(hash), file: POLICIES_FILE });
		await put(
			"files",
			objects.map(({ key, file }) => ({ key, file: resolve(dir, file) })),
		);
		// Last, so that the name never leads to a model half there.
		await put("name", [{ key: nameKey(manifest.name), file: join(list, "name.json") }]);
	} finally {
		await rm(list, { recursive: true });
	}
	console.log(
		`Published ${manifest.name}. Behind the edge's address:\n  /v1/models/${manifest.name}/files\n  /v1/models/${digest}/files   always this version`,
	);
	return 0;
}

async function run([command, ...args]: string[]): Promise<void> {
	const child = spawn(command, args, {
		cwd: join(import.meta.dirname, "..", ".."),
		env: { ...process.env, ...WRANGLER_ENV },
		stdio: ["ignore", "pipe", "pipe"],
	});
	let said = "";
	for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
	const [code] = await once(child, "close");
	if (code !== 0) throw new Error(`wrangler could not put the files (${code}):\n${said.trim().slice(-2000)}`);
}
