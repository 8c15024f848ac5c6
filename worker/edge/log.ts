/** The edge's log: a line of JSON an event, with its time and level. No prompts, no secrets. */

export function log(event: string, fields: Record<string, unknown>): void {
	console.log(line("info", event, fields));
}

/** Something is wrong that should not be. */
export function logError(event: string, fields: Record<string, unknown>): void {
	console.error(line("error", event, fields));
}

export function notReached(job: string, error: unknown): void {
	logError("job not reached", { job, message: String(error) });
}

const line = (level: string, event: string, fields: Record<string, unknown>): string =>
	JSON.stringify({ time: new Date().toISOString(), level, event, ...fields });
