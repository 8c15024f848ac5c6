#!/usr/bin/env node
/**
 * The engine against a second implementation of every family (PyTorch, f64) on random small models: `npm run
 * fuzz:models`. Needs a Python with torch: Debian's python3-torch, or the one that PYTHON names.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { interruptSignal } from "../cli/interrupt.ts";
import { temporaryFolder } from "../temporary.ts";
import { verifySet } from "../verify/verify.ts";
import { writeDrawn } from "./drawn.ts";

const { values } = parseArgs({
	options: {
		kind: { type: "string", default: "all" },
		seed: { type: "string", default: `${Date.now() % 1_000_000}` },
		count: { type: "string", default: "5" },
		python: { type: "string", default: process.env.PYTHON ?? "/usr/bin/python3" },
	},
});
const { kind, seed, count, python } = values;
const generator = join(import.meta.dirname, "generate.py");
const signal = interruptSignal();
using folder = await temporaryFolder("firstlight-fuzz-");
const args = [generator, "--kind", kind, "--seed", seed, "--count", count, "--out", folder.path];
console.log(`Making ${count} of ${kind} from seed ${seed}`);
const { stdout } = await promisify(execFile)(python, args, { signal });

const gpu = await openGpu();
console.log(`Adapter: ${gpu.facts.name}`);
let failed = 0;
for (const name of stdout.trim().split("\n")) {
	const dir = join(folder.path, name);
	try {
		await writeDrawn(dir, dir);
		for await (const { comparisons } of verifySet(gpu, dir)) {
			const misses = comparisons.filter(({ ok }) => !ok);
			if (misses.length > 0) failed++;
			console.log(`${misses.length > 0 ? "MISS" : "ok  "} ${name}: ${comparisons.length} tensors`);
			for (const { name, error, bound, missing } of misses)
				console.log(
					`     ${name} ${missing ?? `is off by ${error.toExponential(2)}, bound ${bound.toExponential(2)}`}`,
				);
		}
	} catch (error) {
		failed++;
		console.log(`MISS ${name}: ${(error as Error).message}`);
	}
}
gpu.destroy();
if (failed > 0) {
	console.log(`${failed} models differ. One alone: npm run fuzz:models -- --kind KIND --seed SEED --count 1`);
	process.exitCode = 1;
}
