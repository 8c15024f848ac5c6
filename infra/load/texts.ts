/** A run in the terminal. */

import { median } from "../median.ts";
import type { Capacity } from "./capacity.ts";
import type { Difference } from "./compare.ts";
import type { Live } from "./run.ts";
import type { Recording } from "./simulate/recording.ts";
import type { Outcome } from "./simulate/simulate.ts";
import type { Summary } from "./summary.ts";

/** The line that changes every second. */
export function liveText({ inFlight, sent, completed, refused, faulty, skipped, firstPreviews }: Live): string {
	const preview = firstPreviews.length > 0 ? `, first preview ${median(firstPreviews).toFixed(0)} ms` : "";
	const bad = [refused && `${refused} refused`, faulty && `${faulty} with faults`, skipped && `${skipped} skipped`];
	return [`${sent} sent, ${completed} done, ${inFlight} under way${preview}`, ...bad.filter(Boolean)].join(", ");
}

const SHOWN = ["first_event", "first_preview", "usable", "final", "gap", "wait", "service", "lag"];
const COLUMNS = ["p50", "p90", "p95", "p99", "p99.9"];

export function summaryText(summary: Summary): string {
	const { rates, counts, metrics, faults, refusals, errors, retry_after: hints, policies } = summary;
	const head = ["ms".padEnd(15), ...["n", ...COLUMNS, "max"].map((name) => name.padStart(9))].join("");
	const rows = SHOWN.filter((name) => metrics[name]).map((name) => {
		const { count, percentiles, max } = metrics[name];
		const cells = [count, ...COLUMNS.map((p) => percentiles[p]?.value ?? null), max];
		return name.replaceAll("_", " ").padEnd(15) + cells.map((value, i) => cell(value, i === 0)).join("");
	});
	const lines = [
		`Offered ${rates.offered.toFixed(2)}/s, completed ${rates.completed.toFixed(2)}/s` +
			(rates.good === null ? "" : `, good ${rates.good.toFixed(2)}/s (${percent(rates.attainment ?? 0)})`),
		`${counts.requests} requests: ${list(countsOf(counts))}`,
		"",
		head,
		...rows,
		"",
		Object.keys(faults).length > 0 ? `Faults: ${list(faults)}` : "No fault: nothing lost, repeated or out of order.",
	];
	if (Object.keys(policies).length > 1) lines.push(`Policies: ${list(policies)}`);
	if (Object.keys(errors).length > 0) lines.push(`Errors: ${list(errors)}`);
	if (Object.keys(refusals).length > 0) lines.push(`Refused: ${list(refusals)}; Retry-After: ${list(hints)}`);
	if (summary.cancel_to_release_ms !== null)
		lines.push(`Cancel to release: ${summary.cancel_to_release_ms.toFixed(0)} ms on average`);
	for (const { class: name, detail } of summary.findings) lines.push(`Found ${name}: ${detail}`);
	lines.push(summary.valid ? "Valid." : `NOT VALID. ${summary.reasons.join(" ")}`);
	return lines.join("\n");
}

const list = (of: Record<string, number>): string =>
	Object.entries(of)
		.filter(([, n]) => n > 0)
		.map(([name, n]) => `${name} ${n}`)
		.join(", ");

const OUTCOMES = [
	"completed",
	"refused",
	"failed",
	"broken",
	"cancelled",
	"vanished",
	"unreachable",
	"timeout",
	"skipped",
];
const countsOf = (counts: Record<string, number>) =>
	Object.fromEntries(OUTCOMES.map((name) => [name, counts[name] ?? 0]));

export function capacityText({ rate, interrupted, probes }: Capacity): string {
	const rows = probes.map(
		({ rate, attainment, holds, doubt }) =>
			`${rate.toFixed(2).padStart(9)}/s  ${percent(attainment).padStart(7)} good  ` +
			`${holds ? "holds" : "does not hold"}${doubt === null ? "" : `, NOT VALID: ${doubt}`}`,
	);
	const held = `It holds ${rate.toFixed(2)} requests a second`;
	const found = rate > 0 ? `${held}.` : "It holds at none of these rates.";
	const sofar = rate > 0 ? `${held}, and may hold more` : "nothing is known";
	return [...rows, interrupted ? `Interrupted: ${sofar}.` : found].join("\n");
}

export function compareText(doubts: readonly string[], differences: readonly Difference[]): string {
	const rows = differences.map(({ metric, at, a, b, change, lower, upper, verdict }) => {
		const [shownA, shownB] = at === "share" ? [percent(a), percent(b)] : [a.toFixed(1), b.toFixed(1)];
		const unit = at === "share" ? " pts" : " %";
		const interval = `[${lower.toFixed(1)}, ${upper.toFixed(1)}]`;
		const name = `${metric.replaceAll("_", " ")} ${at}`;
		return `${columns(name, shownA, shownB, change.toFixed(1) + unit, interval)}  ${verdict}`;
	});
	const head = columns("", "A", "B", "change", "95 % interval");
	return [...doubts.map((doubt) => `Careful: ${doubt}`), head, ...rows].join("\n");
}

const columns = (name: string, a: string, b: string, change: string, interval: string): string =>
	name.padEnd(20) + a.padStart(10) + b.padStart(10) + change.padStart(12) + interval.padStart(20);
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const cell = (value: number | null, whole: boolean): string =>
	(value === null ? "-" : whole ? String(value) : value.toFixed(value < 100 ? 1 : 0)).padStart(9);

export function simulationText(outcome: Outcome): string {
	const { requests, completed, refused, left, errors, waitMs, firstScaleMs, finalMs, broken, thrown } = outcome;
	const { throughput, queueMost, virtualSeconds, utilization, waste, costPerThousand, policies } = outcome;
	const row = (name: string, { mean, p50, p95, p99 }: Outcome["waitMs"]) =>
		name.padEnd(15) + [mean, p50, p95, p99].map((value) => cell(value, false)).join("");
	const told = Object.entries(errors).map(([code, n]) => `, ${n} told ${code}`);
	return [
		`${requests} requests: ${completed} completed, ${refused} refused, ${left} readers left${told.join("")}`,
		...(Object.keys(policies).length > 1 ? [`Policies: ${list(policies)}`] : []),
		`${throughput.toFixed(2)} pictures a second, queue up to ${queueMost}, ${virtualSeconds.toFixed(0)} s virtually`,
		`GPUs busy ${percent(utilization)}, of it for nothing ${percent(waste)}; ${costPerThousand.toFixed(3)} a thousand`,
		"",
		"ms".padEnd(15) + ["mean", "p50", "p95", "p99"].map((name) => name.padStart(9)).join(""),
		row("wait", waitMs),
		row("first scale", firstScaleMs),
		row("final", finalMs),
		"",
		broken.length === 0 ? "Nothing lost, repeated, or left behind." : `BROKEN:\n${broken.slice(0, 20).join("\n")}`,
		...(thrown.length > 0 ? [`The objects threw:\n${thrown.slice(0, 5).join("\n")}`] : []),
	].join("\n");
}

/** A simulation beside the run whose requests and times it had. */
export function agreementText({ waitMs, throughput }: Outcome, seen: Recording["seen"]): string {
	const row = (name: string, measured: number | null, simulated: number | null) => {
		const off = measured && simulated !== null ? `${(100 * (simulated / measured - 1)).toFixed(1)} %` : "-";
		const cells = [measured, simulated].map((value) => (value === null ? "-" : value.toPrecision(4)).padStart(11));
		return `${name.padEnd(22)}${cells.join("")}${off.padStart(9)}`;
	};
	return [
		`${"".padEnd(22)}${["measured", "simulated", "off by"].map((name, i) => name.padStart(i < 2 ? 11 : 9)).join("")}`,
		row("wait p50, ms", seen.p50, waitMs.p50),
		row("wait p95, ms", seen.p95, waitMs.p95),
		row("pictures a second", seen.throughput, throughput),
	].join("\n");
}
