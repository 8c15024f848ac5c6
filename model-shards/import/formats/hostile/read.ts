/**
 * `node read.ts DIR FILE...`: opens every file and reads all of it; a line of JSON each, then one with the peak memory.
 * Run by the test as a process of its own.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ModelFormatError } from "../../../format/errors.ts";
import { openPth } from "../pth.ts";
import { openSafetensors } from "../safetensors.ts";
import { pieces } from "../tensor-source.ts";

export interface Outcome {
	file: string;
	/** Of all names, types, shapes and numbers; null when refused. */
	sha256: string | null;
	message: string;
	/** False for an error that no reader should throw. */
	known: boolean;
	/** CPU time. */
	milliseconds: number;
}

const [dir, ...files] = process.argv.slice(2);
for (const file of files) {
	const begun = process.cpuUsage();
	const outcome = await read(join(dir, file)).then(
		(sha256) => ({ sha256, message: "", known: true }),
		(error: Error) => ({ sha256: null, message: error.message, known: error instanceof ModelFormatError }),
	);
	const { user, system } = process.cpuUsage(begun);
	console.log(JSON.stringify({ file, ...outcome, milliseconds: (user + system) / 1000 } satisfies Outcome));
}
console.log(JSON.stringify({ peakBytes: peakBytes() }));

/** Of this process alone: on Linux maxRSS counts what the parent held when it forked. */
function peakBytes(): number {
	const own = process.platform === "linux" && /^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"));
	return (own ? Number(own[1]) : process.resourceUsage().maxRSS) * 1024;
}

async function read(path: string): Promise<string> {
	await using source = await (path.endsWith(".pth") ? openPth(path) : openSafetensors(path));
	const hash = createHash("sha256");
	for (const [name, { dtype, shape }] of [...source.tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
		hash.update(JSON.stringify([name, dtype, shape]));
		for await (const piece of pieces(source, name)) hash.update(piece);
	}
	return hash.digest("hex");
}
