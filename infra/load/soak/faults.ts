/** What goes wrong during a soak, and when: a function of its seed. */
import { type Random, randomOf } from "../random.ts";

export type FaultKind = "restart" | "kill" | "halt" | "cut";
export interface Planned {
	/** Seconds of the load. */
	at: number;
	kind: FaultKind;
	/** Of a kill or a halt. */
	name?: string;
	/** Of a halt. */
	seconds?: number;
}

/** The first part of a load has what begins all lives anew; whoever lives then lives to the end. */
const FIRST_PART = 1 / 6;

/**
 * `restart`: all processes are killed and started again, once an hour. `kill`: the second worker every five minutes;
 * the first one once, early. `halt`: the first worker stands still for longer than three heartbeats, every quarter of
 * an hour. `cut`: all readers' connections break, every two minutes. Of a load of some minutes all but halts are more
 * frequent.
 */
export function plannedFaults(seconds: number, seed: number): Planned[] {
	const early = seconds * FIRST_PART;
	const within = (purpose: string, from: number, to: number) => from + randomOf(seed, purpose)() * (to - from);
	const restarts = Array.from(
		{ length: Math.max(1, Math.round(seconds / 3600)) },
		(_, i, all = Math.max(1, Math.round(seconds / 3600))): Planned => ({
			at: within(`restart ${i}`, (early * i) / all, (early * (i + 0.5)) / all),
			kind: "restart",
		}),
	);
	const firstWorker: Planned = { at: within("first worker", early * 0.75, early), kind: "kill", name: "worker 0" };
	const every = (mean: number, purpose: string) => spread(randomOf(seed, purpose), early, seconds, mean);
	return [
		...restarts,
		firstWorker,
		...every(Math.min(300, seconds / 4), "kills").map((at): Planned => ({ at, kind: "kill", name: "worker 1" })),
		...every(900, "halts").map(
			(at): Planned => ({
				at,
				kind: "halt",
				name: "worker 0",
				seconds: within(`halt ${at}`, 35, 45),
			}),
		),
		...every(Math.min(120, seconds / 6), "cuts").map((at): Planned => ({ at, kind: "cut" })),
	].sort((a, b) => a.at - b.at);
}

/** Gaps between half and one and a half of the mean. */
function spread(random: Random, from: number, to: number, mean: number): number[] {
	const times: number[] = [];
	for (let at = from + mean * (0.5 + random()); at < to; at += mean * (0.5 + random())) times.push(at);
	return times;
}
