/** The project's own files and what each imports, read as text: enough for code that one formatter writes. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";

const root = join(import.meta.dirname, "..", "..");

export interface Import {
	from: string;
	/** A file of the project by its path, else the specifier as it stands. */
	to: string;
	/** Gone when the types are stripped. `import { type A }` is not: the module is still run. */
	typeOnly: boolean;
}

/** Tracked files and those about to be, by their path from the root. */
export const sources: readonly string[] = execFileSync(
	"git",
	["ls-files", "--cached", "--others", "--exclude-standard", "*.ts", "*.js"],
	{ cwd: root, encoding: "utf8" },
)
	.split("\n")
	.filter((file) => file !== "" && !file.endsWith(".d.ts"));

export const read = (file: string): string => readFileSync(join(root, file), "utf8");

const STATEMENT = /^(?:import|export)\s+(type\s)?[^"'`;]*?from\s+["']([^"']+)["']|^import\s+["']([^"']+)["']/gm;
const DYNAMIC = /\bimport\(\s*["']([^"']+)["']\s*\)/g;

export function importsOf(file: string): Import[] {
	const text = read(file);
	const resolve = (specifier: string) =>
		specifier.startsWith(".") ? posix.normalize(posix.join(posix.dirname(file), specifier)) : specifier;
	const statements = [...text.matchAll(STATEMENT)].map(([, type, from, bare]) => ({
		from: file,
		to: resolve(from ?? bare),
		typeOnly: type !== undefined,
	}));
	// A module that is loaded when it is needed is part of no circle, but of the stairs.
	const dynamic = [...text.matchAll(DYNAMIC)].map(([, to]) => ({ from: file, to: resolve(to), typeOnly: true }));
	return [...statements, ...dynamic];
}

/**
 * Groups of files that reach each other by run-time imports (Tarjan's strongly connected components), larger than one.
 */
export function circles(files: readonly string[], imports: readonly Import[]): string[][] {
	const next = Map.groupBy(
		imports.filter(({ typeOnly }) => !typeOnly),
		({ from }) => from,
	);
	const index = new Map<string, number>();
	const low = new Map<string, number>();
	const stack: string[] = [];
	const found: string[][] = [];
	const visit = (file: string): void => {
		index.set(file, index.size);
		low.set(file, index.get(file) as number);
		stack.push(file);
		for (const { to } of next.get(file) ?? []) {
			if (!index.has(to)) {
				if (!files.includes(to)) continue;
				visit(to);
				low.set(file, Math.min(low.get(file) as number, low.get(to) as number));
			} else if (stack.includes(to)) low.set(file, Math.min(low.get(file) as number, index.get(to) as number));
		}
		if (low.get(file) !== index.get(file)) return;
		const circle = stack.splice(stack.indexOf(file));
		if (circle.length > 1) found.push(circle);
	};
	for (const file of files) if (!index.has(file)) visit(file);
	return found;
}

/** Every module that loads when `entry` does. */
export function reached(entry: string, imports: readonly Import[]): Set<string> {
	const next = Map.groupBy(
		imports.filter(({ typeOnly }) => !typeOnly),
		({ from }) => from,
	);
	const seen = new Set([entry]);
	for (const file of seen) for (const { to } of next.get(file) ?? []) seen.add(to);
	return seen;
}
