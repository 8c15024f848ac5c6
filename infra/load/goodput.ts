/** A joint target: a request is good when it came whole and every one of its times was within bounds. */
import type { Judgement } from "./judge.ts";

export const TARGETS = ["first-event", "first-preview", "usable", "final", "gap", "wait"] as const;
/** Bounds in milliseconds from the intended start; `gap`: between two pictures, `wait`: not spent on the worker. */
export type Goodput = Partial<Record<(typeof TARGETS)[number], number>>;

/** Such as `first-preview:300 final:2000 gap:150`. Throws Error naming what it does not understand. */
export function parseGoodput(text: string): Goodput {
	const goodput: Goodput = {};
	for (const part of text.trim().split(/[\s,]+/)) {
		const [, name, value] = /^([a-z-]+):(\d+(?:\.\d+)?)$/.exec(part) ?? [];
		const target = TARGETS.find((each) => each === name);
		if (!target)
			throw new Error(
				`A target is NAME:MILLISECONDS, such as final:2000, not ${part || "nothing"}; names are ${TARGETS.join(", ")}.`,
			);
		goodput[target] = Number(value);
	}
	return goodput;
}

export function isGood(judgement: Judgement, goodput: Goodput): boolean {
	if (judgement.outcome !== "completed" || judgement.faults.length > 0) return false;
	const { first_event, first_preview, usable, final } = judgement.fromIntended;
	const times: Record<keyof Goodput, number | null> = {
		"first-event": first_event,
		"first-preview": first_preview,
		usable,
		final,
		gap: Math.max(0, ...judgement.gaps),
		wait: judgement.wait,
	};
	return Object.entries(goodput).every(([name, bound]) => (times[name as keyof Goodput] ?? Infinity) <= bound);
}
