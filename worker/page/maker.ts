/** Makes a run: on the edge's workers or in this browser, from nothing or from another picture's first scales. */
import type { JobEvent } from "../protocol/job.ts";
import { type Ask, Refusal } from "./edge.ts";
import { follow, type Waiting } from "./follow.ts";
import { type Run, type Trunk, take } from "./run.ts";

export interface Watch {
	/** The run has taken an event. */
	changed(run: Run, event: JobEvent): void;
	/** No event comes for now, and why; null when they come again. */
	waiting(state: Waiting | null, run: Run): void;
}

/** Where events come from: the edge, or the engine in this browser. */
export type Source = (ask: Ask, signal: AbortSignal, waiting: (state: Waiting) => void) => AsyncGenerator<JobEvent>;

/** Resolves when the run is done. Throws what went wrong, or the signal's reason when it was stopped. */
export async function make(run: Run, signal: AbortSignal, watch: Watch, source: Source = follow): Promise<void> {
	const say = (state: Waiting) => watch.waiting(state, run);
	try {
		for await (const event of run.ask.from ? branch(run, signal, say, source) : source(run.ask, signal, say)) {
			watch.waiting(null, run);
			take(run, event);
			watch.changed(run, event);
		}
	} catch (error) {
		run.state = signal.aborted ? "stopped" : "failed";
		throw error;
	}
}

/** Shows a job that there is already: a shared link. */
export function shared(job: string): Source {
	return (_, signal, waiting) => follow({ job }, signal, waiting);
}

/** From the scales of a job; where that is forgotten by now, they are made once more. */
async function* branch(
	run: Run,
	signal: AbortSignal,
	waiting: (state: Waiting) => void,
	source: Source,
): AsyncGenerator<JobEvent> {
	const { ask, trunk } = run;
	try {
		yield* source(ask, signal, waiting);
	} catch (error) {
		if (!(error instanceof Refusal) || error.code !== "job_not_found") throw error;
		const { from: _, scales, ...bare } = ask;
		// A sketch that is finished was exact as far as it went.
		const policy = trunk ? ask.policy : "exact";
		const again = async ({ seed, scales, before }: Trunk): Promise<string | undefined> => {
			const begun = before && { from: await again(before), scales: String(before.scales) };
			const first: Ask = { ...bare, ...begun, seed, policy, until: String(scales - 1) };
			let job: string | undefined;
			for await (const event of source(first, signal, waiting)) if (event.type === "plan") job = event.job;
			return job;
		};
		const from = await again(trunk ?? { seed: ask.seed, scales: Number(scales) });
		yield* source({ ...ask, from }, signal, waiting);
	}
}
