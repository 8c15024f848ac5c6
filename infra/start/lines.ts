/** Dawn tells of limits that it lowers to what it can use, on every start: there is nothing to do about it. */
const NOISE = /^Warning: max\w+ artificially reduced from \d+ to \d+ /;

/** A child's line as the log has it, led by who says it; undefined for one that says nothing. */
export function logLine(name: string, line: string): string | undefined {
	if (line.trim() === "" || NOISE.test(line)) return undefined;
	return line.startsWith("[") ? line : `[${name}] ${line}`;
}
