/** What the page says of itself: milestones, and why nothing happens for now. */
import { $, setText } from "./dom.ts";
import { type Progress, standing } from "./edge.ts";
import type { Waiting } from "./follow.ts";
import type { Run } from "./run.ts";
import { percent, seconds } from "./units.ts";

/** Milestones only: a screen reader says each of them. */
export function announce(text: string): void {
	setText($("status"), text);
}

export function setState(state: "idle" | "running" | "done" | "error"): void {
	document.body.dataset.state = state;
	$<HTMLButtonElement>("stop").disabled = state !== "running";
}

let waited: Waiting["kind"] | undefined;
/** What was said depends on it. */
let asked = false;

/** Why no event comes; null when they come again. `running`: a picture was asked for. */
export function sayWaiting(state: Waiting | null, running: boolean): void {
	if (state || waited) showLoading(state?.kind === "loading" ? inWords(state.progress) : null);
	if (state?.kind === waited && running === asked) return;
	asked = running;
	const before = waited;
	waited = state?.kind;
	if (!state) {
		if (before === "lost") announce(running ? "Connected again." : "");
		else if (before) announce("");
	} else if (state.kind === "loading")
		announce(`The model is loading.${running ? " The picture begins by itself." : ""}`);
	else if (state.kind === "full") announce("Many pictures are waiting already. Yours is asked for again in a moment.");
	else if (state.begun) announce("The connection was lost. Trying again; the picture goes on where it was.");
	else announce("Firstlight does not answer. Trying again.");
}

function inWords(progress: Progress | undefined): Loading {
	if (!progress) return {};
	const { model, part, done } = progress;
	return { done, note: `${part === "weights" ? `reading ${model}` : "preparing the GPU"}, ${percent(done)}` };
}

/** What is known of something that loads: its share from 0 to 1, and the same in words. */
interface Loading {
	done?: number;
	note?: string;
}

/** The bar below the status, which says nothing aloud: it changes every second. Null hides it. */
export function showLoading(loading: Loading | null): void {
	$("loading-row").hidden = loading === null;
	const bar = $<HTMLProgressElement>("loading");
	if (loading?.done === undefined) bar.removeAttribute("value");
	else bar.value = loading.done;
	setText($("loading-note"), loading?.note ?? "");
}

/** Whose place was said last, and as what. */
let placed: { run: Run; as: string } | undefined;

/**
 * While a picture waits for a worker: how many are before it, and when it will be done, as the edge says. Said aloud
 * whenever its place changes.
 */
export async function sayQueue(run: Run): Promise<void> {
	if (run.state !== "waiting" || !run.job || waited) return;
	const now = await standing(run.job);
	if (!now || run.state !== "waiting") return;
	const { state, place, estimate_seconds: left } = now;
	const as = `${state} ${place}`;
	if (placed?.run === run && placed.as === as) return;
	placed = { run, as };
	const wait = left === null ? "" : ` Done in about ${seconds(1000 * left)}.`;
	if (state === "running") announce(`A worker has begun.${wait}`);
	else if (place === 0) announce(`Next in the queue.${wait}`);
	else if (place) announce(`${place === 1 ? "One picture is" : `${place} pictures are`} before this one.${wait}`);
}

export function finishedInWords(run: Run): string {
	const unknown = run.unknown?.length ? ` Not known, and ignored: ${run.unknown.slice(0, 5).join(", ")}.` : "";
	if (run.ask.until !== undefined) return `A sketch of seed ${run.ask.seed}. Finish it, or choose another.${unknown}`;
	return `Picture finished in ${seconds(run.took ?? 0)}.${unknown}`;
}
