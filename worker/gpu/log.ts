/** What a worker says of itself: lines for people, or of JSON for who collects them. No prompts, no secrets. */

/** `fields` are what the line is about, for lines of JSON alone: ids, and figures. */
export type Log = (
	line: string,
	fields?: Readonly<Record<string, unknown>> & { level?: "info" | "warn" | "error" },
) => void;

export function workerLog(
	{ LOG_FORMAT, WORKER_ID }: { LOG_FORMAT: "text" | "json"; WORKER_ID: string },
	write: (text: string) => void = console.log,
): Log {
	if (LOG_FORMAT === "text") return (line) => write(`[worker] ${line}`);
	return (message, { level = "info", ...fields } = {}) =>
		write(JSON.stringify({ time: new Date().toISOString(), level, message, worker: WORKER_ID, ...fields }));
}
