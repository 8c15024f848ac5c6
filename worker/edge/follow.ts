/** A job's log, followed by the Worker that holds the response: pulled only as fast as the reader takes it. */
import { ApiError } from "./errors.ts";
import type { LogPage, LogRow } from "./objects.ts";
import { type Env, settingsOf } from "./settings.ts";

/** How long one read of the log waits for news. */
const READ_MILLISECONDS = 15_000;
const RETRIES = 3;

export function jobGone(param = "lastEventId"): ApiError {
	return new ApiError(
		404,
		"job_not_found",
		"There is no such job. Logs are deleted some time after the end; ask for the picture again.",
		{ param },
	);
}

/** The id of a job that this deployment may have made, or null. */
export function jobId(env: Env, id: string): DurableObjectId | null {
	if (!/^[0-9a-f]{64}$/.test(id)) return null;
	try {
		return env.JOB.idFromString(id);
	} catch {
		return null;
	}
}

/**
 * Events after number `after`, up to the end of the log; null after each silence. While it runs, and however slowly the
 * reader takes the events, the job is told that somebody is there; `signal` ends that.
 */
export async function* follow(
	env: Env,
	job: string,
	after: number,
	signal: AbortSignal,
): AsyncGenerator<LogRow | null> {
	const { READER_GRACE_SECONDS, COMMENT_SECONDS } = settingsOf(env);
	const id = env.JOB.idFromString(job);
	const presence = setInterval(
		() =>
			void env.JOB.get(id)
				.present()
				.catch(() => {}),
		(READER_GRACE_SECONDS * 1000) / 4,
	);
	const leave = () => clearInterval(presence);
	signal.addEventListener("abort", leave, { once: true });
	try {
		for (let n = after; !signal.aborted; ) {
			const reading = readPatiently(env, id, n);
			// Whoever leaves while it reads does not care how that ends.
			reading.catch(() => {});
			let page: LogPage | null | undefined;
			while ((page = await Promise.race([reading, pause(COMMENT_SECONDS * 1000)])) === undefined) {
				if (signal.aborted) return;
				yield null;
			}
			if (page === null) throw jobGone();
			for (const row of page.rows) {
				n = row.n;
				yield row;
			}
			if (page.ended) return;
		}
	} finally {
		leave();
		signal.removeEventListener("abort", leave);
	}
}

/** One long read. A deploy or a restart breaks calls and stubs for a moment: it tries again with a fresh stub. */
async function readPatiently(env: Env, id: DurableObjectId, after: number): Promise<LogPage | null> {
	for (let failures = 0; ; ) {
		try {
			return await env.JOB.get(id).read(after, READ_MILLISECONDS);
		} catch (error) {
			failures += 1;
			if (failures > RETRIES) throw error;
			await pause(250 * failures);
		}
	}
}

function pause(milliseconds: number): Promise<undefined> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds, undefined));
}
