/**
 * Builds the engine as a package for Node, Deno and browsers: `npm run build` writes dist/firstlight, which `npm pack`
 * takes as it is. One bundle an entry with what they share beside it, one file of types, and the report of its public
 * face (API Extractor), which is checked in: `npm run build -- --report` accepts a change of it.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";
import { build as bundle } from "esbuild";

const here = import.meta.dirname;
const root = join(here, "..", "..");
const run = promisify(execFile);

export const OUT = join(root, "dist", "firstlight");
export const REPORT = join(here, "firstlight.api.md");

const ENTRIES = ["node", "deno", "browser"] as const;
/** What the engine needs everywhere, and what a machine without a GPU of its own can add. */
const DEPENDENCIES = ["@huggingface/tokenizers", "zod"];
const OPTIONAL = ["@sparticuz/chromium", "@webgpu/types", "tar-fs", "webgpu"];

export interface Built {
	/** The public face as it is now differs from the report that is checked in. */
	reportChanged: boolean;
}

/** Writes the package to `out`. `acceptReport` rewrites the report. Throws where the code or its types do not build. */
export async function buildPackage(out = OUT, acceptReport = false): Promise<Built> {
	await rm(out, { recursive: true, force: true });
	await mkdir(out, { recursive: true });
	await bundle({
		absWorkingDir: root,
		entryPoints: Object.fromEntries(ENTRIES.map((entry) => [entry, `worker/engine/${entry}.ts`])),
		outdir: out,
		bundle: true,
		splitting: true,
		format: "esm",
		// Node and Deno both name Node's modules so; the browser's entry reaches none (test/house).
		external: ["node:*", ...DEPENDENCIES, ...OPTIONAL],
		target: "es2024",
		chunkNames: "chunks/[hash]",
		logLevel: "error",
	});
	const reportChanged = await writeTypes(out, acceptReport);
	await writeFile(join(out, "package.json"), `${JSON.stringify(await manifest(), null, "\t")}\n`);
	await cp(join(root, "LICENSE"), join(out, "LICENSE"));
	await cp(join(here, "README.md"), join(out, "README.md"));
	return { reportChanged };
}

/** One file of types for all entries, whose faces are the same, and the report of them. */
async function writeTypes(out: string, acceptReport: boolean): Promise<boolean> {
	await mkdir(join(root, "dist"), { recursive: true });
	const types = await mkdtemp(join(root, "dist", "types-"));
	try {
		await run(process.execPath, [
			join(root, "node_modules", "typescript", "bin", "tsc"),
			"-p",
			here,
			"--outDir",
			types,
		]);
		// The compiler leaves the sources' own endings in declarations.
		for (const file of await readdir(types, { recursive: true })) {
			if (!file.endsWith(".d.ts")) continue;
			const text = await readFile(join(types, file), "utf8");
			await writeFile(join(types, file), text.replace(/((?:from|import\() ?"\.[^"]*)\.ts"/g, '$1.js"'));
		}
		await writeFile(join(types, "package.json"), JSON.stringify({ name: "firstlight", type: "module" }));
		// All entries have the same names; those of the browser have the fewest options.
		const entry = join(types, "worker", "engine", "browser.d.ts");
		const { apiReportChanged } = Extractor.invoke(extractorConfig(types, entry, join(out, "firstlight.d.ts")), {
			localBuild: acceptReport,
			messageCallback: (message) => {
				message.handled = true;
			},
		});
		return apiReportChanged;
	} finally {
		await rm(types, { recursive: true, force: true });
	}
}

function extractorConfig(folder: string, entry: string, rollup: string): ExtractorConfig {
	const quiet = { logLevel: ExtractorLogLevel.None };
	return ExtractorConfig.prepare({
		configObject: {
			projectFolder: folder,
			mainEntryPointFilePath: entry,
			compiler: {
				overrideTsconfig: {
					compilerOptions: {
						target: "es2022",
						lib: ["esnext", "dom", "dom.iterable"],
						module: "nodenext",
						moduleResolution: "nodenext",
						types: ["@webgpu/types"],
						skipLibCheck: true,
						strict: true,
					},
					files: [entry],
				},
			},
			apiReport: { enabled: true, reportFolder: here, reportTempFolder: tmpdir(), reportFileName: "firstlight.api.md" },
			docModel: { enabled: false },
			dtsRollup: { enabled: true, untrimmedFilePath: rollup },
			tsdocMetadata: { enabled: false },
			messages: {
				compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
				extractorMessageReporting: {
					default: quiet,
					"ae-forgotten-export": { ...quiet, addToApiReportFile: false },
				},
				tsdocMessageReporting: { default: quiet },
			},
		},
		configObjectFullPath: undefined,
		packageJsonFullPath: join(folder, "package.json"),
	});
}

/** The package's own package.json; versions are those that the project is tested with. */
async function manifest(): Promise<object> {
	const { version, description, license, dependencies, devDependencies } = JSON.parse(
		await readFile(join(root, "package.json"), "utf8"),
	);
	const versions = { ...devDependencies, ...dependencies };
	const pick = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, versions[name]]));
	const entry = (name: (typeof ENTRIES)[number]) => ({ types: "./firstlight.d.ts", default: `./${name}.js` });
	return {
		name: "firstlight",
		version,
		description,
		license,
		type: "module",
		engines: { node: ">=24", deno: ">=2.9" },
		sideEffects: false,
		// The first condition that holds is taken, and Deno calls itself Node too.
		exports: {
			".": { deno: entry("deno"), browser: entry("browser"), node: entry("node") },
			"./package.json": "./package.json",
		},
		types: "./firstlight.d.ts",
		dependencies: pick(DEPENDENCIES),
		peerDependencies: pick(OPTIONAL),
		peerDependenciesMeta: Object.fromEntries(OPTIONAL.map((name) => [name, { optional: true }])),
	};
}

if (import.meta.main) {
	const accept = process.argv.includes("--report");
	const { reportChanged } = await buildPackage(OUT, accept);
	console.log(
		`dist/firstlight is built${accept && reportChanged ? ", and the report of its face was rewritten" : ""}.`,
	);
	if (reportChanged && !accept) {
		console.error(
			"Its public face is not the one in infra/package/firstlight.api.md. If that is meant: npm run build -- --report",
		);
		process.exit(1);
	}
}
