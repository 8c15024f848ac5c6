// @ts-check
/** @import { ErrorEvent, FinalEvent, PlanEvent, RevisionEvent, ScaleEvent } from "../protocol/job.ts" */

/**
 * What to draw, one of the two, and how. @typedef {{ prompt?: string, class?: string, model?: string, seed: string,
 * policy: string, format: string }} Ask
 */

/**
 * Follows one picture. EventSource reconnects by itself with the id of the last event, so a cut connection goes on
 * where it was.
 * @param {Ask} ask
 * @param {{ plan(event: PlanEvent): void, scale(event: Omit<ScaleEvent, "codes">): void, revision(event:
 * RevisionEvent): void, final(event: FinalEvent): void, failed(message: string): void }} on
 * @returns {() => void} stops listening; the edge then stops the job
 */
export function follow(ask, on) {
	const url = `v1/images/preview?${new URLSearchParams(ask)}`;
	const source = new EventSource(url);
	source.addEventListener("plan", ({ data }) => on.plan(JSON.parse(data)));
	source.addEventListener("scale", ({ data }) => on.scale(JSON.parse(data)));
	source.addEventListener("revision", ({ data }) => on.revision(JSON.parse(data)));
	source.addEventListener("final", ({ data }) => {
		source.close();
		on.final(JSON.parse(data));
	});
	source.addEventListener("error", (event) => {
		const { data } = /** @type {MessageEvent} */ (event);
		if (data) {
			source.close();
			on.failed(/** @type {ErrorEvent} */ (JSON.parse(data)).message);
		} else if (source.readyState === EventSource.CLOSED) {
			refusal(url).then(on.failed);
		}
	});
	return () => source.close();
}

/**
 * Why a request was refused: EventSource does not tell, so it is asked once more.
 * @param {string} url
 */
async function refusal(url) {
	const abort = new AbortController();
	try {
		const response = await fetch(url, { signal: abort.signal });
		if (response.ok) return "The connection was lost. Generate again.";
		return (await response.json()).error.message;
	} catch {
		return "Firstlight cannot be reached. Check that it runs, then generate again.";
	} finally {
		abort.abort();
	}
}
