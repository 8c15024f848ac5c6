/** What no single request shows: pure functions of a whole run. */
import { median } from "../median.ts";
import type { Judgement } from "./judge.ts";
import type { Run, Sample } from "./run.ts";

export const FINDINGS = {
	late_under_load:
		"The same answer comes much later when more is under way: what is measured one by one is not what many get.",
	unsteady: "Times grew through the run: percentiles depend on how long it lasted.",
	picture_differs: "Equal requests under one numerics id gave different bytes.",
} as const;
export interface Finding {
	class: keyof typeof FINDINGS;
	detail: string;
}

export function findingsOf(samples: readonly Sample[]): Finding[] {
	return [...lateUnderLoad(samples), ...unsteady(samples), ...differing(samples)];
}

const ENOUGH = 10;

/** The quarter that was sent into the emptiest house against the quarter into the fullest. */
function lateUnderLoad(samples: readonly Sample[]): Finding[] {
	return (["first_event", "first_preview"] as const).flatMap((name) => {
		const known = samples
			.flatMap(({ trace: { inFlight }, judgement }) => {
				const ms = judgement.fromIntended[name];
				return ms === null ? [] : [{ inFlight, ms }];
			})
			.sort((a, b) => a.inFlight - b.inFlight);
		const quarter = Math.floor(known.length / 4);
		if (quarter < ENOUGH) return [];
		const [quiet, busy] = [known.slice(0, quarter), known.slice(-quarter)];
		if (busy[0].inFlight <= quiet[quarter - 1].inFlight) return [];
		const [few, many] = [quiet, busy].map((part) => median(part.map(({ ms }) => ms)));
		if (many < 2 * few || many - few < 50) return [];
		const [low, high] = [quiet, busy].map((part) => median(part.map(({ inFlight }) => inFlight)));
		return [
			{
				class: "late_under_load",
				detail: `${name}: ${ms(few)} with ${low} under way, ${ms(many)} with ${high}`,
			},
		];
	});
}

function unsteady(samples: readonly Sample[]): Finding[] {
	const known = samples.filter(({ judgement }) => judgement.fromIntended.final !== null);
	const third = Math.floor(known.length / 3);
	if (third < ENOUGH) return [];
	const of = (part: readonly Sample[]) => median(part.map(({ judgement }) => judgement.fromIntended.final as number));
	const [first, last] = [of(known.slice(0, third)), of(known.slice(-third))];
	if (last < 1.5 * first || last - first < 100) return [];
	return [{ class: "unsteady", detail: `final: median ${ms(first)} in the first third, ${ms(last)} in the last` }];
}

/** The same question, plan and arithmetic must give the same file. */
function differing(samples: readonly Sample[]): Finding[] {
	const known = samples.flatMap(({ trace, judgement: { sha256, policy } }) => {
		const final = trace.frames.find(({ final }) => final)?.final;
		const { prompt, class: label, model, seed, format } = trace.asked;
		if (!final || final.numerics === "" || sha256 === null) return [];
		return [{ of: JSON.stringify([prompt, label, model, seed, format, policy, final.numerics]), sha256 }];
	});
	const groups = [...Map.groupBy(known, ({ of }) => of).values()];
	const differ = groups.filter((group) => new Set(group.map(({ sha256 }) => sha256)).size > 1);
	if (differ.length === 0) return [];
	return [{ class: "picture_differs", detail: `${differ.length} of ${groups.length} questions` }];
}

export interface Hints {
	/** Refusals that named a time, by whether a place was free within a factor of two of it (whole seconds). */
	right: number;
	tooShort: number;
	tooLong: number;
	/** Nobody was let in afterwards, so that nothing can be said. */
	unknown: number;
	/** Refused for now, with no time named. */
	missing: number;
}

/** Retry-After against when the next request with the same key was in fact let in. */
export function hintsOf(samples: readonly Sample[]): Hints {
	const hints: Hints = { right: 0, tooShort: 0, tooLong: 0, unknown: 0, missing: 0 };
	const admitted = Map.groupBy(
		samples.filter(({ judgement }) => judgement.fromIntended.first_event !== null),
		({ trace }) => trace.asked.key ?? "",
	);
	for (const { trace, judgement } of samples) {
		const { refusedWith } = judgement;
		if (!refusedWith || ![429, 503].includes(refusedWith.status)) continue;
		const { retryAfter } = refusedWith;
		const times = admitted.get(trace.asked.key ?? "")?.map(({ trace: { sent } }) => sent - trace.ended);
		const next = (times ?? []).reduce((least, ms) => (ms > 0 ? Math.min(least, ms) : least), Infinity);
		if (retryAfter === null) hints.missing += 1;
		else if (next === Infinity) hints.unknown += 1;
		else {
			const ratio = Math.max(1, retryAfter) / Math.max(1, next / 1000);
			hints[ratio > 2 ? "tooLong" : ratio < 0.5 ? "tooShort" : "right"] += 1;
		}
	}
	return hints;
}

/**
 * How long a picture goes on that nobody waits for any more: what the edge worked on or kept waiting beyond what
 * readers were there for, over time, by the number of those who left (Little's law). Null where nobody left, or health
 * is not told.
 */
export function releaseMs({ health, samples }: Pick<Run, "health" | "samples">): number | null {
	const left = samples.filter(({ trace }) => trace.left);
	if (left.length === 0 || health.length < 2) return null;
	const present = (at: number) => samples.filter(({ trace }) => isThere(trace.sent, gone(trace), at)).length;
	const ghosts = health.map(({ at, busy, queue }) => Math.max(0, busy + queue - present(at)));
	let area = 0;
	for (let i = 1; i < health.length; i++) area += ((ghosts[i] + ghosts[i - 1]) / 2) * (health[i].at - health[i - 1].at);
	return area / left.length;
}

const gone = ({ left, ended }: Sample["trace"]): number => (left ? Math.min(left.at, ended) : ended);
const isThere = (sent: number, ended: number, at: number): boolean => sent <= at && at < ended;

/** Why figures should not be believed; none where they can be. */
export function doubts(run: Run, firstPreviewMs: number | null, measured: readonly Judgement[]): string[] {
	const { loop, samples, skipped, interrupted } = run;
	const reasons: string[] = [];
	const lags = samples.map(({ judgement }) => judgement.lag).sort((a, b) => a - b);
	const lag = lags[Math.floor(lags.length * 0.99)] ?? 0;
	const bound = Math.max(20, 0.1 * (firstPreviewMs ?? 0));
	if (lag > bound)
		reasons.push(`The client lagged: 1 % of requests left ${ms(lag)} late or more; ${ms(bound)} is bearable.`);
	if (loop.utilization > 0.9)
		reasons.push(
			`The client was busy for ${Math.round(loop.utilization * 100)} % of the time: give it a machine of its own.`,
		);
	if (skipped.length > 0)
		reasons.push(`${skipped.length} requests were not sent, since too many were under way: raise --max-in-flight.`);
	const completed = measured.filter(({ outcome }) => outcome === "completed").length;
	if (completed < 20) reasons.push(`Too few samples: ${completed} finished pictures, of 20 at least.`);
	if (interrupted) reasons.push("The run was interrupted.");
	return reasons;
}

const ms = (value: number): string => `${Math.round(value)} ms`;
