/** One picture from the edge, whatever happens on the way: waits for a worker, and comes back to a cut stream. */
import type { JobEvent } from "../protocol/job.ts";
import {
	type Ask,
	askAddress,
	cancel,
	events,
	health,
	isJob,
	jobAddress,
	Lost,
	type Progress,
	Refusal,
} from "./edge.ts";

/** What a person should know while no event comes. */
export type Waiting =
	/** No worker is there yet: a model is being loaded. `progress`: how far, where a worker says it. */
	| { kind: "loading"; progress?: Progress }
	/** The edge does not answer; the picture goes on where it was. */
	| { kind: "lost"; begun: boolean }
	/** The queue is full. */
	| { kind: "full" };

/** Refusals that are over in a moment; others, as a day's pictures used up, are for a person to read. */
const SOON = ["no_workers", "queue_full", "rate_limit_exceeded"];
const PAUSE_MS = 500;
const MAX_PAUSE_MS = 5000;
/** Lost this often in a row without an event between, a picture is given up. */
const MAX_LOST = 40;

/**
 * The events of a new picture, or those of a job that there is already. Ends after `final`. Throws what the edge says
 * when it refuses or fails, and the signal's reason; a job that was begun is then cancelled.
 */
export async function* follow(
	what: Ask | { job: string },
	signal: AbortSignal,
	waiting: (state: Waiting) => void,
): AsyncGenerator<JobEvent, void, undefined> {
	if (!("job" in what) && what.from !== undefined && !isJob(what.from))
		throw new Refusal("The picture to go on from was made in a browser.", "job_not_found");
	const url = "job" in what ? jobAddress(what.job) : askAddress(what);
	let lastId = "";
	let ended = false;
	try {
		for (let lost = 0; ; ) {
			try {
				for await (const { id, event } of events(url, lastId, signal)) {
					// An error without an id is the stream's and not the job's, which may go on.
					if (event.type === "error" && !id) throw new Lost(event.message);
					lastId = id;
					lost = 0;
					ended = event.type === "final" || event.type === "error";
					yield event;
					if (event.type === "error") throw new Refusal(event.message, event.code);
					if (ended) return;
				}
				throw new Lost("The stream ended before the picture.");
			} catch (error) {
				signal.throwIfAborted();
				// A picture that has begun needs no room any more; only the key's own limit may keep its reader away.
				const soon = lastId ? ["rate_limit_exceeded"] : SOON;
				if (error instanceof Refusal && error.later !== undefined && soon.includes(error.code)) {
					if (error.code === "no_workers") await ready(signal, waiting);
					else waiting(lastId ? { kind: "lost", begun: true } : { kind: "full" });
					// A key's own limit lasts as long as it says; a place in the queue may be free before.
					await pause(error.code === "queue_full" ? Math.min(error.later, 1000) : error.later, signal);
				} else if (error instanceof Lost && lost < MAX_LOST) {
					waiting({ kind: "lost", begun: lastId !== "" });
					await pause(Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** lost++), signal);
				} else if (error instanceof Lost) {
					throw new Lost("Firstlight cannot be reached. Check that it runs, then generate again.", { cause: error });
				} else throw error;
			}
		}
	} finally {
		if (lastId && !ended && !("job" in what)) cancel(lastId.split(".")[0]);
	}
}

/** Resolves when a worker is there; says how it stands until then. Throws the signal's reason. */
export async function ready(signal: AbortSignal, waiting: (state: Waiting) => void): Promise<void> {
	for (;;) {
		const now = await health();
		if (now?.ready) return;
		waiting(now ? { kind: "loading", progress: farthest(now.loading) } : { kind: "lost", begun: false });
		await pause(1000, signal);
	}
}

/** Of several workers that load, the one that will be ready first. */
function farthest(all: readonly Progress[]): Progress | undefined {
	const far = ({ part, done }: Progress) => (part === "kernels" ? 1 : 0) + done;
	return all.toSorted((a, b) => far(b) - far(a)).at(0);
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
	return new Promise((resolve, reject) => {
		signal.throwIfAborted();
		const stop = () => {
			clearTimeout(timer);
			reject(signal.reason);
		};
		const timer = setTimeout(() => {
			signal.removeEventListener("abort", stop);
			resolve();
		}, milliseconds);
		signal.addEventListener("abort", stop, { once: true });
	});
}
