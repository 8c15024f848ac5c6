/**
 * A GPU worker with all it needs, as a folder: Node, Dawn, the Vulkan loader and SwiftShader, the worker in one file,
 * models, and the C library. It runs where no registry is reached, also as the root of a machine that has nothing else.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, readdir, readFile, realpath, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createBrotliDecompress } from "node:zlib";
import { build } from "esbuild";
import { extract } from "tar-fs";
import { temporaryFolder } from "../temporary.ts";

const root = join(import.meta.dirname, "..", "..");
const run = promisify(execFile);

/** Packages that are native, or look for files of their own; everything else goes into the one file. */
const PACKAGES = ["webgpu", "sharp", "@sparticuz/chromium", "tar-fs"];
/** Of packages that carry more than a worker on this platform needs: what is taken. */
const TAKEN: Record<string, readonly string[]> = {
	webgpu: ["package.json", "index.js", "LICENSE", "LICENSE.md", join("dist", `${process.platform}-${process.arch}`)],
	"@sparticuz/chromium": ["package.json", "LICENSE", "build", join("bin", "swiftshader.tar.br")],
};

export interface Bundled {
	folder: string;
	bytes: { all: number; models: number };
}

/** Fills `folder`, which is empty. `models`: folders. Throws Error on another platform than Linux. */
export async function bundle(folder: string, models: readonly string[], nodePath: string): Promise<Bundled> {
	if (process.platform !== "linux") throw new Error("A bundle can be made on Linux, for Linux.");
	const app = join(folder, "app");
	for (const each of ["bin", "app", "etc", "models", "tmp"]) await mkdir(join(folder, each), { recursive: true });
	// Whoever runs it is not who made it.
	await chmod(folder, 0o755);
	await chmod(join(folder, "tmp"), 0o1777);
	await build({
		absWorkingDir: root,
		entryPoints: ["worker/gpu/main.ts"],
		outfile: join(app, "worker.mjs"),
		bundle: true,
		platform: "node",
		format: "esm",
		target: "es2024",
		external: PACKAGES,
		// What was CommonJS asks for Node's modules by `require`.
		banner: {
			js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);',
		},
		logLevel: "error",
	});
	await writeFile(join(app, "package.json"), '{"type":"module"}\n');
	for (const name of PACKAGES) await copyPackage(name, root, join(app, "node_modules"));
	await cp(await realpath(nodePath), join(folder, "bin", "node"));
	await copyLibraries(folder);
	for (const model of models) await cp(model, join(folder, "models", basename(model)), { recursive: true });
	await cp(join(root, "LICENSE"), join(folder, "LICENSE"));
	// As a root of its own it has somebody to be, with a place for what is kept.
	const people = [["root", 0] as const, ["nobody", 65534] as const];
	const lines = people.map(([name, id]) => `${name}:x:${id}:${id}::/tmp:/bin/false\n`);
	await writeFile(join(folder, "etc", "passwd"), lines.join(""));
	// And names to look up; whose server answers for them is the machine's to say, in etc/resolv.conf.
	await writeFile(join(folder, "etc", "hosts"), "127.0.0.1 localhost\n::1 localhost\n");
	await writeFile(join(folder, "etc", "nsswitch.conf"), "passwd: files\nhosts: files dns\n");
	const names = models.map((model) => `/models/${basename(model)}`);
	await writeFile(join(folder, "firstlight-worker"), startScript(names), { mode: 0o755 });
	return { folder, bytes: { all: await sizeOf(folder), models: await sizeOf(join(folder, "models")) } };
}

/** For a machine with a shell. In an empty root, `/bin/node /app/worker.mjs` is the whole of it. */
const startScript = (models: readonly string[]) => `#!/bin/sh
# The Firstlight GPU worker. EDGE_URL and WORKER_SECRET say where it belongs; see docs/operating.md.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
MODELS=\${MODELS:-${models.map((model) => `$here${model}`).join(",")}}
export MODELS
exec "$here/bin/node" "$here/app/worker.mjs"
`;

/** A package and what it depends on, flat: two versions of one package are an error. */
async function copyPackage(name: string, from: string, to: string): Promise<void> {
	const source = packageFolder(name, from);
	if (source === undefined) return;
	const target = join(to, name);
	const manifest = JSON.parse(await readFile(join(source, "package.json"), "utf8"));
	if (existsSync(target)) {
		const { version } = JSON.parse(await readFile(join(target, "package.json"), "utf8"));
		if (version !== manifest.version)
			throw new Error(`The bundle would need ${name} ${version} and ${manifest.version}.`);
		return;
	}
	await mkdir(target, { recursive: true });
	const taken = TAKEN[name] ?? (await readdir(source)).filter((entry) => entry !== "node_modules");
	for (const entry of taken)
		if (existsSync(join(source, entry)))
			await cp(join(source, entry), join(target, entry), { recursive: true, filter: runsHere });
	for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }))
		await copyPackage(dependency, source, to);
}

/** Not what was built for other platforms, nor what only a compiler reads. */
const runsHere = (path: string): boolean =>
	!/\.(d\.ts|map|md)$/.test(path) &&
	(basename(dirname(path)) !== "prebuilds" || basename(path) === `${process.platform}-${process.arch}`);

/** Where Node would find it; undefined for what is not installed, as the builds for other platforms are. */
function packageFolder(name: string, from: string): string | undefined {
	for (let folder = from; ; folder = dirname(folder)) {
		const candidate = join(folder, "node_modules", name);
		if (existsSync(join(candidate, "package.json"))) return candidate;
		if (folder === dirname(folder)) return undefined;
	}
}

/** The dynamic linker and every library that a binary of the bundle asks for, where they are looked for. */
async function copyLibraries(folder: string): Promise<void> {
	using drivers = await temporaryFolder("firstlight-bundle-");
	const archive = join(folder, "app", "node_modules", "@sparticuz", "chromium", "bin", "swiftshader.tar.br");
	await pipeline(Readable.from([await readFile(archive)]), createBrotliDecompress(), extract(drivers.path));
	const own = [join(folder, "bin", "node"), ...(await binaries(folder)), ...(await binaries(drivers.path))];
	const needed = new Set<string>();
	for (const binary of own) {
		const { stdout } = await run("ldd", [binary]).catch(() => ({ stdout: "" }));
		for (const [, path] of stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm))
			if (!path.startsWith(folder) && !path.startsWith(drivers.path)) needed.add(path);
	}
	for (const path of needed) {
		await mkdir(join(folder, dirname(path)), { recursive: true });
		await cp(await realpath(path), join(folder, path));
	}
}

async function binaries(folder: string): Promise<string[]> {
	const files = await readdir(folder, { recursive: true });
	return files.filter((file) => /\.(node|so)(\.[\d.]+)?$/.test(file)).map((file) => join(folder, file));
}

async function sizeOf(folder: string): Promise<number> {
	let bytes = 0;
	for (const file of await readdir(folder, { recursive: true, withFileTypes: true }))
		if (file.isFile()) bytes += (await stat(join(file.parentPath, file.name))).size;
	return bytes;
}

/** The Node that comes with the packages, in its own version. */
export function bundledNode(): string {
	const require = createRequire(import.meta.url);
	return join(dirname(require.resolve(`node-${process.platform}-${process.arch}/package.json`)), "bin", "node");
}
