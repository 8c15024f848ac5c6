import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import { type FileEntry, MANIFEST_FILE, type Manifest, type TensorEntry } from "../../model-shards/format/manifest.ts";
import { readVerified } from "../../model-shards/format/source/files.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { fileKey, manifestHash, nameKey, POLICIES_FILE, policiesKey } from "../../worker/protocol/model-files.ts";
import { defaultStateDir, stateFolder } from "../start/state.ts";
import { temporaryFolder } from "../temporary.ts";
import { given, jsonOption, modelName, requireHeard } from "./options.ts";
import { outputFolder } from "./output.ts";
import type { Define } from "./program.ts";
import { UsageError } from "./usage.ts";
import { WRANGLER_ENV, wrangler } from "./wrangler.ts";

/** The most that wrangler puts as one object. */
const MAX_PUT_BYTES = 300 * 2 ** 20;

/**
 * Puts a model folder into the bucket of `npm start`, or with --remote into Cloudflare's: files by their hashes, then
 * the name.
 */
export const define: Define = (command, terminal) =>
	command
		.argument("<model>", "a model folder, or a bundled model's name", modelName)
		.option("--remote", "into Cloudflare's R2, as wrangler is logged in, not into that of `npm start`")
		.option("--bucket <name>", "the bucket's name", bucketName, "firstlight-models")
		.addOption(jsonOption())
		.action(async (model, { remote, bucket }) => {
			// The edge of npm start has one bucket.
			requireHeard(command, { beside: { bucket: ["remote"] } });
			const dir = findModel(model);
			const state = stateFolder(resolve(process.env.STATE_DIR || defaultStateDir()), "edge");
			const where = remote ? ["--remote"] : ["--local", "--persist-to", await outputFolder("STATE_DIR", state)];
			const { manifest, digest } = await openModelFolder(dir);
			const { name, shards, tokenizer } = manifest;
			const files = [...shards, ...(tokenizer ? [tokenizer] : [])];
			const hash = manifestHash(digest);
			const objects = [
				...files.map(({ file, sha256 }) => ({ key: fileKey(sha256), file })),
				{ key: fileKey(hash), file: MANIFEST_FILE },
			];
			if (existsSync(join(dir, POLICIES_FILE))) objects.push({ key: policiesKey(hash), file: POLICIES_FILE });
			const pointer = JSON.stringify({ digest });
			const large = files.find(({ bytes }) => bytes > MAX_PUT_BYTES);
			if (large) {
				const named = { key: nameKey(name), file: `a file with ${pointer}` };
				const way = remote ? byHand([...objects, named]) : `Let the workers read the folder itself: MODELS=${dir}.`;
				throw new ModelFormatError(`${tooLarge(large, manifest)} ${way}`);
			}
			using bar = terminal.progress("{bar} {percentage} % of the model checked, {eta_formatted} left");
			const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
			bar.start(total);
			for (const entry of files) {
				await readVerified(dir, entry);
				bar.add(entry.bytes);
			}
			bar[Symbol.dispose]();
			using scratch = await temporaryFolder("firstlight-publish-");
			const put = async (list: string, objects: { key: string; file: string }[]) => {
				await writeFile(list, JSON.stringify(objects));
				await run(wrangler("r2", "bulk", "put", bucket, "--filename", list, ...where), {
					// The checkout says whose account it is, and may be read-only.
					cwd: remote ? join(import.meta.dirname, "..", "..") : scratch.path,
					log: scratch.path,
					signal: terminal.signal,
					say: (line) => terminal.say(line),
				});
			};
			const nameFile = join(scratch.path, "name.json");
			await writeFile(nameFile, pointer);
			terminal.say(`Putting ${objects.length} files into ${bucket}`);
			await put(
				join(scratch.path, "files"),
				objects.map(({ key, file }) => ({ key, file: resolve(dir, file) })),
			);
			// Last, so that the name never leads to a model half there.
			await put(join(scratch.path, "name"), [{ key: nameKey(name), file: nameFile }]);
			const routes = [`/v1/models/${name}/files`, `/v1/models/${digest}/files`];
			terminal.print(
				`Published ${name}. Behind the edge's address:\n  ${routes[0]}\n  ${routes[1]}   always this version`,
			);
			terminal.result({ name, digest, bucket, remote: remote === true, files: objects.length, routes });
		});

function bucketName(text: string): string {
	if (/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(given("bucket")(text))) return text;
	throw new UsageError(`--bucket ${text} is no bucket's name.`, "Small letters, digits and dashes, 3 to 63 of them.");
}

/** Shards are cut between tensors, so that it is one tensor that makes a shard as large. */
function tooLarge({ file, bytes }: FileEntry, { tensors, shards }: Manifest): string {
	const within = tensors.filter(({ shard }) => shards[shard].file === file);
	const largest = within.reduce<TensorEntry | undefined>((a, b) => (a && a.bytes >= b.bytes ? a : b), undefined);
	return (
		`${file} has ${bytes} bytes, and wrangler puts at most ${MAX_PUT_BYTES}` +
		`${largest ? `: tensor ${largest.name} alone has ${largest.bytes}` : ""}.`
	);
}

const byHand = (objects: readonly { key: string; file: string }[]): string =>
	"Put all of it into the bucket with an S3 client, which R2 takes too, under these keys and the last one last:\n" +
	objects.map(({ key, file }) => `  ${key}  ${file}`).join("\n");

interface Run {
	cwd: string;
	/** Where wrangler keeps its own log. */
	log: string;
	signal: AbortSignal;
	/** Gets a line as wrangler writes it. */
	say: (line: string) => void;
}

async function run([command, ...args]: string[], { cwd, log, signal, say }: Run): Promise<void> {
	const child = spawn(command, args, {
		cwd,
		env: { ...process.env, ...WRANGLER_ENV, WRANGLER_LOG_PATH: log },
		stdio: ["ignore", "pipe", "pipe"],
		signal,
	});
	let said = "";
	for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
	createInterface({ input: child.stdout }).on("line", (line) => line.trim() && say(`wrangler: ${line}`));
	const [code] = await once(child, "close");
	if (code !== 0) throw new Error(`wrangler could not put the files (${code}):\n${said.trim().slice(-2000)}`);
}
