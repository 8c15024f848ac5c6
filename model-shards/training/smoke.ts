/**
 * The whole recipe in small, `npm run recipe:smoke`: runs the Python tests, trains smoke.json's tokenizer and
 * transformer from nothing, resuming each once, exports, records a reference set, imports the export and verifies the
 * engine on it; then the same for a model of twice the side that starts from that one: its tokenizer has it for a
 * teacher, its transformer the first scales. PYTHON names the interpreter (python3).
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const recipe = import.meta.dirname;
const python = process.env.PYTHON ?? "python3";

function run(command: string, args: string[]): void {
	console.log(`\n$ ${command} ${args.join(" ")}`);
	const { status, error } = spawnSync(command, args, { stdio: "inherit" });
	if (error) throw error;
	if (status !== 0) {
		console.error(`${command} ended with code ${status}.`);
		process.exit(1);
	}
}

if (spawnSync(python, ["-c", "import numpy, torch"], { stdio: "ignore" }).status !== 0) {
	console.error(
		`${python} has no PyTorch. Install it (Debian: apt-get install python3-torch python3-numpy ` +
			"libopenblas0-pthread; elsewhere: pip install torch numpy), or name an interpreter that has it in PYTHON.",
	);
	process.exit(1);
}
const work = await mkdtemp(join(tmpdir(), "firstlight-recipe-"));
try {
	const firstlight = (...args: string[]) =>
		run(process.execPath, [join(recipe, "..", "..", "infra", "cli", "cli.ts"), ...args]);
	/** Trains, exports, imports and verifies a config in a folder of its own; `from`: a release to start from. */
	const make = (config: string, dir: string, from?: string) => {
		const script = (name: string, ...args: string[]) => run(python, [join(recipe, name), config, ...args]);
		for (const trainer of ["train_tokenizer.py", "train_transformer.py"]) {
			const start = from && trainer === "train_transformer.py" ? ["--from", from] : [];
			script(trainer, "--work", dir, "--slot", "2", ...start);
			script(trainer, "--work", dir);
		}
		script("export.py", "--work", dir, "--out", join(dir, "release"));
		script("record.py", join(dir, "release"), "--out", join(dir, "reference"), "--runs", "2");
		firstlight("import", join(dir, "release"), "--out", join(dir, "model"));
		firstlight("verify", join(dir, "reference"), "--model", join(dir, "model"));
	};
	run(python, [join(recipe, "tests.py")]);
	const [small, large] = [join(work, "small"), join(work, "large")];
	make(join(recipe, "smoke.json"), small);
	const release = join(small, "release");
	const twice = {
		extends: join(recipe, "smoke.json"),
		name: "smoke-large",
		side: 64,
		scales: [1, 2, 3, 4, 6, 8],
		tokenizer: { teacher: { config: join(recipe, "smoke.json"), model: release, weight: 1 } },
	};
	await writeFile(join(work, "smoke-large.json"), JSON.stringify(twice));
	make(join(work, "smoke-large.json"), large, release);
	console.log("\nThe recipe works: trained, resumed, grown, exported, and the engine agrees with PyTorch.");
} finally {
	await rm(work, { recursive: true, force: true });
}
