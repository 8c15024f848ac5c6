/**
 * The whole recipe in small, `npm run recipe:smoke`: runs the Python tests, trains smoke.json's tokenizer and
 * transformer from nothing, resuming each once, exports, records a reference set, imports the export and verifies the
 * engine on it. PYTHON names the interpreter (python3).
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
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
	const script = (name: string, ...args: string[]) =>
		run(python, [join(recipe, name), join(recipe, "smoke.json"), ...args]);
	const firstlight = (...args: string[]) =>
		run(process.execPath, [join(recipe, "..", "..", "infra", "cli", "cli.ts"), ...args]);
	run(python, [join(recipe, "tests.py")]);
	for (const trainer of ["train_tokenizer.py", "train_transformer.py"]) {
		script(trainer, "--work", work, "--slot", "2");
		script(trainer, "--work", work);
	}
	script("export.py", "--work", work, "--out", join(work, "release"));
	script("record.py", join(work, "release"), "--out", join(work, "reference"), "--runs", "2");
	firstlight("import", join(work, "release"), "--out", join(work, "model"));
	firstlight("verify", join(work, "reference"), "--model", join(work, "model"));
	console.log("\nThe recipe works: trained, resumed, exported, and the engine agrees with PyTorch.");
} finally {
	await rm(work, { recursive: true, force: true });
}
