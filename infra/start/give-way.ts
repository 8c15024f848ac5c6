import { writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const NICENESS = constants.priority.PRIORITY_BELOW_NORMAL;
/** Linux changes sessions one by one, a tenth of a second apart. */
const TRIES = 20;
const PAUSE_MS = 150;

/**
 * Lets a process that computes on all cores, and leads a session of its own, wait for whoever else has something to do:
 * without that a scheduler may let an answer wait for as long as a whole scale takes. Linux compares sessions before
 * processes, where it groups by them (sched_autogroup). A system that refuses leaves all as it is.
 */
export async function giveWay(pid: number): Promise<void> {
	try {
		setPriority(pid, NICENESS);
	} catch {
		return;
	}
	for (let i = 0; i < TRIES; i++) {
		try {
			return writeFileSync(`/proc/${pid}/autogroup`, String(NICENESS), { flag: "r+" });
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
			await sleep(PAUSE_MS, undefined, { ref: false });
		}
	}
}
