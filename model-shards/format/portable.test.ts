/** The format's core runs wherever there is fetch and WebCrypto: nothing that it imports is Node's. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";

/** What a file imports to run, types left out, and all that those import. */
async function imports(path: string, seen: Map<string, string[]> = new Map()): Promise<Map<string, string[]>> {
	if (seen.has(path)) return seen;
	const source = await readFile(path, "utf8");
	const names = [...source.matchAll(/^(?:import|export)\s(?!type\b)[^;]*?from "([^"]+)";/gm)].map(([, name]) => name);
	seen.set(path, names);
	for (const name of names.filter((name) => name.startsWith("."))) await imports(join(dirname(path), name), seen);
	return seen;
}

it.each(["folder.ts", "source/http.ts", "layout.ts", "stored.ts", "precision.ts"])("%s", async (file) => {
	const all = [...(await imports(join(import.meta.dirname, file))).values()].flat();
	expect(all.filter((name) => !name.startsWith(".") && name !== "zod")).toEqual([]);
});

it("sees Node's where it is", async () => {
	const all = [...(await imports(join(import.meta.dirname, "source/cache.ts"))).values()].flat();
	expect(all).toContain("node:fs/promises");
});
