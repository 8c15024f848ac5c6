/** A run second by second, for the page's plots. */

import type { Goodput } from "./goodput.ts";
import { isGood } from "./goodput.ts";
import type { Run } from "./run.ts";

export interface Timeline {
	seconds: number[];
	offered: number[];
	completed: number[];
	good: number[];
	refused: number[];
	faulty: number[];
	inFlight: number[];
	/** Null where health was not told. */
	queue: (number | null)[];
	busy: (number | null)[];
	policies: Record<string, number[]>;
}

export function timelineOf({ samples, skipped, seconds, health }: Run, goodput: Goodput | null): Timeline {
	const length = Math.max(1, Math.ceil(seconds));
	const series = () => new Array<number>(length).fill(0);
	const [offered, completed, good, refused, faulty, inFlight] = Array.from({ length: 6 }, series);
	const policies: Record<string, number[]> = {};
	const add = (to: number[], at: number) => {
		const second = Math.min(length - 1, Math.max(0, Math.floor(at / 1000)));
		to[second] += 1;
	};
	for (const at of skipped) add(offered, at);
	for (const { trace, judgement } of samples) {
		add(offered, trace.intended);
		if (judgement.outcome === "completed") add(completed, trace.ended);
		if (goodput && isGood(judgement, goodput)) add(good, trace.ended);
		if (judgement.outcome === "refused") add(refused, trace.ended);
		if (judgement.faults.length > 0) add(faulty, trace.ended);
		if (judgement.policy !== null) add((policies[judgement.policy] ??= series()), trace.sent);
		for (let s = Math.ceil(trace.sent / 1000); s < length && s * 1000 < trace.ended; s++) inFlight[s] += 1;
	}
	const sampled = (of: "queue" | "busy") =>
		Array.from({ length }, (_, s) => health.findLast(({ at }) => at < (s + 1) * 1000 && at >= s * 1000)?.[of] ?? null);
	return {
		seconds: Array.from({ length }, (_, i) => i),
		offered,
		completed,
		good,
		refused,
		faulty,
		inFlight,
		queue: sampled("queue"),
		busy: sampled("busy"),
		policies,
	};
}
