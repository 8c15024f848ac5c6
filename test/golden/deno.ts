/** The same recordings in Deno, by the command line: one process for all sets, which share what it compiles. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { SETS } from "./sets.ts";

const root = join(import.meta.dirname, "..", "..");
/** Makes a test of each set, with more options for `verify`. */
export function verifyInDeno(names: typeof SETS, options: readonly string[] = []): void {
	const sets = names.map(([name, runs]) => [join(root, "test", "reference", name), runs] as const);
	let deno: ReturnType<typeof run>;
	let lines: AsyncIterator<string, undefined>;
	const run = () =>
		spawn(
			join(root, "node_modules", ".bin", "deno"),
			["run", "-A", "infra/cli/cli.ts", "verify", ...sets.map(([folder]) => folder), ...options],
			{ cwd: root, stdio: ["ignore", "pipe", "inherit"] },
		);
	// Not before its own tests: others may run in front of them.
	beforeAll(() => {
		deno = run();
		lines = createInterface(deno.stdout)[Symbol.asyncIterator]();
	});
	afterAll(() => deno.kill());

	/** The lines up to the next that fits, which is the last of them. */
	async function upTo(pattern: RegExp): Promise<string[]> {
		const read: string[] = [];
		for (let line = await lines.next(); !line.done; line = await lines.next()) {
			read.push(line.value);
			if (pattern.test(line.value)) return read;
		}
		throw new Error(`Deno ended before a line like ${pattern}:\n${read.join("\n")}`);
	}

	it("opens an adapter through wgpu", async () => {
		expect((await upTo(/^Adapter: /)).at(-1)).toContain("via wgpu");
	});

	it.each(sets)("every recorded tensor of %s is within its bound", async (folder, runs) => {
		for (let run = 0; run < runs; run++) {
			const lines = await upTo(/tensors within their bounds$/);
			expect(lines.some((line) => line.startsWith(`${folder} · `))).toBe(true);
			expect(lines.filter((line) => line.includes("MISS"))).toEqual([]);
		}
	});

	it("and says so at the end", async () => {
		await upTo(/^All tensors are within their bounds\.$/);
	});
}
