/**
 * What is told on every start, and there is nothing to do about it: by Dawn, of limits that it lowers to what it can
 * use; by workerd, that what it had compiled beforehand is of no use to a V8 that has flags (v8.ts).
 */
const NOISE = [
	/^Warning: max\w+ artificially reduced from \d+ to \d+ /,
	/^NOSENTRY per-isolate bootstrap compile cache failed its compatibility check; /,
];

/** A child's line as the log has it, led by who says it; undefined for one that says nothing. */
export function logLine(name: string, line: string): string | undefined {
	if (line.trim() === "" || NOISE.some((noise) => noise.test(line))) return undefined;
	return line.startsWith("[") ? line : `[${name}] ${line}`;
}
