/** A job's log, followed by the Worker that holds the response: pulled only as fast as the reader takes it. */
import { ApiError } from "./errors.ts";
import type { LogRow } from "./job.ts";
import { type Env, settingsOf } from "./settings.ts";

const RETRIES = 3;

export function jobGone(): ApiError {
	return new ApiError(404, "job_not_found", "There is no such job. Logs are deleted some time after the end; ask for the picture again.", { param: "lastEventId" });
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
 * Events after number `after`, up to the end of the log; null after each long silence. While it runs, and however slowly
 * the reader takes the events, the job is told that somebody is there; `signal` ends that.
 */
export async function* follow(env: Env, job: string, after: number, signal: AbortSignal): AsyncGenerator<LogRow | null> {
	const { READER_GRACE_SECONDS, COMMENT_SECONDS } = settingsOf(env);
	const id = env.JOB.idFromString(job);
	const presence = setInterval(() => void env.JOB.get(id).present().catch(() => {}), (READER_GRACE_SECONDS * 1000) / 3);
	const leave = () => clearInterval(presence);
	signal.addEventListener("abort", leave, { once: true });
	try {
		for (let n = after, failures = 0; !signal.aborted; ) {
			// A fresh stub each time: one that failed once, by a deploy or a restart, stays broken.
			const page = await env.JOB.get(id).read(n, COMMENT_SECONDS * 1000).catch((error: unknown) => {
				failures += 1;
				if (failures > RETRIES) throw error;
				return pause(250 * failures);
			});
			if (page === undefined) continue;
			if (page === null) throw jobGone();
			failures = 0;
			for (const row of page.rows) {
				n = row.n;
				yield row;
			}
			if (page.ended) return;
			if (page.rows.length === 0) yield null;
		}
	} finally {
		leave();
		signal.removeEventListener("abort", leave);
	}
}

function pause(milliseconds: number): Promise<undefined> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds, undefined));
}
