/** The edge's log: a line of JSON an event. No prompts, no secrets. */

export function log(event: string, fields: Record<string, unknown>): void {
	console.log(JSON.stringify({ event, ...fields }));
}

export function notReached(job: string, error: unknown): void {
	console.error(JSON.stringify({ event: "job not reached", job, message: String(error) }));
}
