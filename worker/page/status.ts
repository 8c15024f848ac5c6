/** What the page says of itself: milestones, and why nothing happens for now. */
import { $, setText } from "./dom.ts";
import { health } from "./edge.ts";
import type { Waiting } from "./follow.ts";
import type { Run } from "./run.ts";
import { briefly, seconds } from "./units.ts";

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
	if (state?.kind === waited && running === asked) return;
	asked = running;
	const before = waited;
	waited = state?.kind;
	$("loading").hidden = state?.kind !== "loading";
	if (!state) {
		if (before === "lost") announce(running ? "Connected again." : "");
		else if (before) announce("");
	} else if (state.kind === "loading")
		announce(`The model is loading.${running ? " The picture begins by itself." : ""}`);
	else if (state.kind === "full") announce("Many pictures are waiting already. Yours is asked for again in a moment.");
	else if (state.begun) announce("The connection was lost. Trying again; the picture goes on where it was.");
	else announce("Firstlight does not answer. Trying again.");
}

/** While a picture waits for a worker: how many are waiting, and about how long that takes by those made before. */
export async function sayQueue(run: Run, before: readonly number[]): Promise<void> {
	if (run.state !== "waiting" || !run.plan || waited) return;
	const now = await health();
	if (!now || run.state !== "waiting" || now.queue === 0) return;
	const typical = before.toSorted((a, b) => a - b)[before.length >> 1];
	const wait = typical ? `, about ${briefly((now.queue * typical) / Math.max(1, now.slots))}` : "";
	announce(
		now.queue === 1 ? `Next in the queue${wait}.` : `${now.queue} pictures are waiting, this one among them${wait}.`,
	);
}

export function finishedInWords(run: Run): string {
	const unknown = run.unknown?.length ? ` Not known, and ignored: ${run.unknown.slice(0, 5).join(", ")}.` : "";
	if (run.ask.until !== undefined) return `A sketch of seed ${run.ask.seed}. Finish it, or choose another.${unknown}`;
	return `Picture finished in ${seconds(run.took ?? 0)}.${unknown}`;
}
