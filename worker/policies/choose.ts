/** Which policy a picture is made by where its request leaves that open, and why: by wish, hints, load and deadline. */
import type { ModelInfo } from "../protocol/model-info.ts";
import { type Choice, choiceOfQuality, EXACT, losesAtMost, type Quality, worthwhile } from "./quality.ts";

/** What the request says. */
export interface Asked {
	/** By name; `auto`, or none, leaves it open. */
	policy?: string;
	quality?: Quality;
	/** Milliseconds within which the picture is wanted. */
	maxMs?: number;
	/** Client hints, as the headers have them: https://wicg.github.io/savedata, https://wicg.github.io/netinfo. */
	saveData?: string;
	ect?: string;
}

/** How it stands with the workers that offer the model. */
export interface Load {
	/** Jobs that wait, and slots of all workers. */
	waiting: number;
	slots: number;
	/** How much of the queue is taken, or of the slots where there is none, 0 to 1. */
	filled: number;
	/** Milliseconds until a new job begins, and that its picture takes by exact; null where that is not known. */
	waitMs: number | null;
	exactMs: number | null;
}

export interface Chosen {
	policy: string;
	/** A word for programs: `request`, `measured`, `load` and so on. */
	reason: string;
}

/** Jobs a slot, or a share of the queue (of the slots where there is none), from which late scales are thinned. */
const BUSY = { perSlot: 2, filled: 0.5 };

/**
 * A policy that is named is taken, a quality is what was measured to answer it. Where both are left open it is the
 * fastest that loses next to nothing, and a thinner one, before anybody is refused, for who saves data, has a slow
 * network, or comes when many wait. A deadline thins anything but a policy that was named. Nothing is thinned by more
 * than `low` may cost. `schedule`: the model's default when left out.
 */
export function choosePolicy(
	info: ModelInfo,
	schedule: string | undefined,
	{ policy = "auto", quality, maxMs, saveData, ect }: Asked,
	load: Load,
): Chosen {
	if (policy !== "auto") return { policy, reason: "request" };
	/** From the best to the thinnest. */
	const ladder = [EXACT, ...worthwhile(info, schedule)]
		.filter((one) => one.speedup >= EXACT.speedup && losesAtMost("low", one))
		.sort((a, b) => a.speedup - b.speedup);
	const low = ladder[ladder.length - 1];
	let reason = ladder.length > 1 ? "measured" : "unmeasured";
	let choice = ladder.findLast((one) => losesAtMost("medium", one)) ?? EXACT;
	if (quality) [choice, reason] = [choiceOfQuality(quality, info, schedule), `quality-${quality}`];
	const thin = (to: Choice, why: string) => {
		if (to.speedup > choice.speedup) [choice, reason] = [to, why];
	};
	if (!quality) {
		if (saveData?.trim().toLowerCase() === "on") thin(low, "save-data");
		if (ect !== undefined && /^(slow-2g|2g|3g)$/.test(ect)) thin(low, `ect-${ect}`);
		if (load.filled >= BUSY.filled || load.waiting >= BUSY.perSlot * Math.max(1, load.slots)) thin(low, "load");
	}
	if (maxMs !== undefined) {
		const { waitMs, exactMs } = load;
		if (waitMs === null || exactMs === null) return { policy: choice.policy, reason: "deadline-unmeasured" };
		const inTime = ({ speedup }: Choice) => waitMs + exactMs / speedup <= maxMs;
		if (!inTime(choice)) {
			const best = ladder.find((one) => one.speedup > choice.speedup && inTime(one));
			thin(best ?? low, "deadline");
			if (!best) reason = "deadline-missed";
		}
	}
	return { policy: choice.policy, reason };
}
