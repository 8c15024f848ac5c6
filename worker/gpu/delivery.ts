import { request } from "undici";
import type { WorkerEvent } from "../protocol/job.ts";
import { DeliveryAnswer, type Lease } from "../protocol/messages.ts";
import { edgeUrl } from "./settings.ts";

/** The edge could not be reached, or not for long enough. */
export class DeliveryError extends Error {
	override name = "DeliveryError";
}
/** The edge does not take this event, and would not take it from another worker either. */
export class RefusedError extends Error {
	override name = "RefusedError";
}

/** A restarted edge is back by then. */
const GIVE_UP_MS = 30_000;
const LONGEST_PAUSE_MS = 2000;
/** Statuses under 500 that say "later", not "no". */
const LATER = [408, 425, 429];

/**
 * Posts events of a lease, one after the other. Network failures and 5xx are tried again; deliveries are idempotent at
 * the edge. Throws DeliveryError, RefusedError, or the signal's reason.
 */
export function deliverer(
	{ deliver, token, traceparent }: Lease,
	edge: string,
	signal: AbortSignal,
): (event: WorkerEvent) => Promise<DeliveryAnswer> {
	return async (event) => {
		const begun = Date.now();
		for (let attempt = 1; ; attempt++) {
			let problem: string;
			try {
				// The runtime's own fetch takes most of a millisecond more, and somebody waits for every scale.
				const { statusCode, body } = await request(edgeUrl(edge, deliver), {
					method: "POST",
					headers: {
						authorization: `Bearer ${token}`,
						"content-type": "application/json",
						...(traceparent && { traceparent }),
					},
					body: JSON.stringify(event),
					signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]),
				});
				if (statusCode === 200) return DeliveryAnswer.parse(await body.json());
				problem = `${statusCode} ${await said(body)}`;
				// A token that is not taken is no fault of the event: another attempt has another one.
				if (statusCode === 401 || statusCode === 403) throw new DeliveryError(problem);
				if (statusCode < 500 && !LATER.includes(statusCode)) throw new RefusedError(problem);
			} catch (error) {
				if (error instanceof DeliveryError || error instanceof RefusedError || signal.aborted) throw error;
				problem = (error as Error).message;
			}
			if (Date.now() - begun > GIVE_UP_MS) throw new DeliveryError(`${problem}, ${attempt} times`);
			const pause = Math.min(LONGEST_PAUSE_MS, 100 * 2 ** attempt) * (0.5 + Math.random());
			await new Promise((resolve) => setTimeout(resolve, pause));
			signal.throwIfAborted();
		}
	};
}

/** The code of the edge's error, which is short and has nothing of the request in it. */
async function said(answer: { json(): Promise<unknown> }): Promise<string> {
	try {
		const { error } = (await answer.json()) as { error?: { code?: unknown } };
		return String(error?.code ?? "").slice(0, 64);
	} catch {
		return "";
	}
}
