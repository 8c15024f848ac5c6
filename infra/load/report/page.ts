/** A run as one HTML file that needs nothing else: figures, faults, charts (uPlot, in the file). */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Distribution } from "../distribution.ts";
import { FINDINGS } from "../findings.ts";
import { FAULTS } from "../judge.ts";
import type { Summary } from "../summary.ts";
import type { Chart } from "./charts.ts";

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char]);

export function reportPage(title: string, summary: Summary, charts: readonly Chart[]): Promise<string> {
	const before = [verdict(summary), figures(summary), faultTable(summary)];
	const after = [timesTable(summary), about(summary)];
	return chartPage({ title, subtitle: subtitle(summary), before, charts, after });
}

export interface Parts {
	title: string;
	subtitle: string;
	/** HTML above and below the charts. */
	before: readonly string[];
	charts: readonly Chart[];
	after: readonly string[];
}

/** Six digits are more than a screen shows. */
const shown = (_: string, value: unknown): unknown =>
	typeof value === "number" ? Number(value.toPrecision(6)) : value;

/** Charts with something around them, in one file. */
export async function chartPage({ title, subtitle, before, charts, after }: Parts): Promise<string> {
	const plots = join(dirname(createRequire(import.meta.url).resolve("uplot")), "..", "dist");
	const [library, libraryStyle, script, style] = await Promise.all([
		readFile(join(plots, "uPlot.iife.min.js"), "utf8"),
		readFile(join(plots, "uPlot.min.css"), "utf8"),
		readFile(join(import.meta.dirname, "page.js"), "utf8"),
		readFile(join(import.meta.dirname, "page.css"), "utf8"),
	]);
	const cards = charts.map(({ title, note }, i) => {
		const heading = `<h2>${escaped(title)}</h2><p class="quiet">${escaped(note)}</p>`;
		return `<section>${heading}<div id="chart-${i}"></div></section>`;
	});
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${libraryStyle}${style}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p class="quiet">${escaped(subtitle)}</p>
${before.join("\n")}
<div class="charts">${cards.join("\n")}</div>
${after.join("\n")}
<script type="application/json" id="charts">${JSON.stringify(charts, shown).replaceAll("<", "\\u003c")}</script>
<script>${library}</script>
<script>${script.replaceAll("</script", "<\\/script")}</script>
</body>
</html>
`;
}

function subtitle({ date, target, load, seconds }: Summary): string {
	const models = target.models.map(({ id }) => id).join(", ");
	const how = load.kind === "closed" ? `${load.readers} readers in turn (closed)` : `open, ${arrivalsOf(load)}`;
	const time = `${seconds.measured} s after ${seconds.warmup} s of warm-up`;
	return [date, target.url, models || "models not told", how, time].join(" · ");
}

function arrivalsOf(load: Summary["load"]): string {
	const { process, burstiness } = (load.arrival ?? {}) as { process?: string; burstiness?: number };
	const rates = ((load.profile ?? []) as { rate: number }[]).map(({ rate }) => rate);
	const [low, high] = [Math.min(...rates), Math.max(...rates)];
	const rate = low === high ? `${low}/s` : `${low} to ${high}/s`;
	return `${rate}, ${process}${burstiness === undefined ? "" : ` with burstiness ${burstiness}`}`;
}

function verdict({ valid, reasons, findings }: Summary): string {
	const lines = [
		valid
			? '<p class="good"><b>Valid.</b> The client kept up and there are enough samples.</p>'
			: `<p class="bad"><b>Not valid.</b> ${reasons.map(escaped).join(" ")}</p>`,
		...findings.map(
			({ class: name, detail }) =>
				`<p><b>${escaped(name)}</b>: ${escaped(detail)}. <span class="quiet">${escaped(
					FINDINGS[name as keyof typeof FINDINGS] ?? "",
				)}</span></p>`,
		),
	];
	return lines.join("\n");
}

function figures({ rates, counts, metrics, goodput }: Summary): string {
	const p = (name: string, at: string) => shownMs(metrics[name]?.percentiles[at]?.value);
	const cards: [label: string, value: string][] = [
		["offered", `${rates.offered.toFixed(2)}/s`],
		["completed", `${rates.completed.toFixed(2)}/s`],
		...(rates.good === null ? [] : [["good", `${rates.good.toFixed(2)}/s`] as [string, string]]),
		["first preview, p50", p("first_preview", "p50")],
		["first preview, p95", p("first_preview", "p95")],
		["picture, p50", p("final", "p50")],
		["picture, p95", p("final", "p95")],
		["with faults", `${counts.faulty} of ${counts.requests}`],
		["turned away", String(counts.refused ?? 0)],
	];
	const target = goodput
		? `<p class="quiet">Good: whole, without a fault, and ${escaped(
				Object.entries(goodput)
					.map(([name, ms]) => `${name} within ${ms} ms`)
					.join(", "),
			)}; ${((rates.attainment ?? 0) * 100).toFixed(1)} % of those who meant to stay.</p>`
		: "";
	return `<div class="figures">${cards
		.map(([label, value]) => `<div><b>${escaped(value)}</b><span class="quiet">${escaped(label)}</span></div>`)
		.join("")}</div>${target}`;
}

function faultTable({ faults, errors, refusals, retry_after: hints, cancel_to_release_ms: release }: Summary): string {
	const rows = [
		...Object.entries(faults).map(([name, n]) => [name, n, FAULTS[name as keyof typeof FAULTS] ?? ""]),
		...Object.entries(errors).map(([name, n]) => [`error ${name}`, n, "as the edge ended the job"]),
		...Object.entries(refusals).map(([name, n]) => [`refused ${name}`, n, "as the edge said"]),
		...Object.entries(hints)
			.filter(([, n]) => n > 0)
			.map(([name, n]) => [`Retry-After ${name}`, n, "against when the next one was let in"]),
		...(release === null
			? []
			: [["cancel to release", shownMs(release), "mean time that the edge went on for a reader who had left"]]),
	];
	if (rows.length === 0)
		return `<section><h2>Faults</h2><p class="good">None: no event lost, repeated or out of order, every picture as its
hash says.</p></section>`;
	const body = rows.map((row) => {
		const [name, n, what] = row.map((each) => escaped(String(each)));
		return `<tr><td>${name}</td><td>${n}</td><td class="text quiet">${what}</td></tr>`;
	});
	return `<section><h2>Faults and refusals</h2><table>${body.join("")}</table></section>`;
}

function timesTable({ metrics }: Summary): string {
	const names = Object.keys(metrics).filter((name) => !/_service$/.test(name));
	const at = Object.keys(metrics[names[0]]?.percentiles ?? {});
	const cell = ({ percentiles }: Distribution, p: string) => {
		const known = percentiles[p];
		return known
			? `<td title="95 % interval ${known.lower} to ${known.upper} ms">${number(known.value)}</td>`
			: "<td>–</td>";
	};
	const rows = names.map((name) => {
		const distribution = metrics[name];
		const { count, mean, max } = distribution;
		return `<tr><td>${escaped(name.replaceAll("_", " "))}</td><td>${count}</td><td>${number(mean)}</td>${at
			.map((p) => cell(distribution, p))
			.join("")}<td>${number(max)}</td></tr>`;
	});
	return `<section><h2>Times in milliseconds</h2><p class="quiet">From the intended start unless it says otherwise. A
dash: too few samples for it. Intervals are in the hints.</p><table><tr><th>time</th><th>n</th><th>mean</th>${at
		.map((p) => `<th>${p}</th>`)
		.join("")}<th>max</th></tr>${rows.join("")}</table></section>`;
}

function about({ client, target, load, counts, policies, preview_bytes: bytes }: Summary): string {
	const rows = { target, counts, policies, "bytes a picture": bytes, client, load };
	return `<section><h2>How it was measured</h2><table>${Object.entries(rows)
		.map(
			([name, value]) =>
				`<tr><td>${name}</td><td class="text quiet">${escaped(
					JSON.stringify(value).replaceAll(",", ", ").slice(0, 2000),
				)}</td></tr>`,
		)
		.join("")}</table></section>`;
}

const number = (value: number | null): string =>
	value === null ? "–" : value >= 100 ? value.toFixed(0) : value.toFixed(1);
const shownMs = (value: number | null | undefined): string => (value == null ? "–" : `${number(value)} ms`);
