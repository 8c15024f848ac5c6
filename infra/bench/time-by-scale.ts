/** Time by scale as a picture: a group of bars by policy, coloured by stage, on a common axis. */
import type { Stage } from "../../worker/protocol/plan.ts";
import { escapeXml, round, roundStep, svg, text } from "./svg.ts";

export interface Bar {
	label: string;
	stage: Stage;
	milliseconds: number;
	/** Not run: drawn hollow. */
	estimated?: boolean;
}
export interface Chart {
	title: string;
	/** Adapter, and what the figures are. */
	subtitle: string;
	groups: { name: string; total: number; bars: Bar[] }[];
}

const STAGES: readonly Stage[] = ["semantic", "structure", "fidelity"];
/** Rules that fill and outline the bars of each stage: Okabe and Ito's palette, lighter on dark ground. */
const colours = (fills: Record<Stage, string>) =>
	STAGES.map((stage) => `.${stage} { fill: ${fills[stage]}; stroke: ${fills[stage]}; }`).join(" ");
const STYLE = `.value { font-size: 10px; }
${colours({ semantic: "#d55e00", structure: "#0072b2", fidelity: "#009e73" })}
.estimated { fill-opacity: 0.15; stroke-dasharray: 3 2; }`;
const DARK = colours({ semantic: "#e69f00", structure: "#56b4e9", fidelity: "#2bbd93" });

const LEFT = 64;
const TOP = 112;
const HEIGHT = 240;
const GAP = 36;
/** Narrower bars have their value in the hint alone, but for the longest of a group. */
const LABEL_WIDTH = 38;

/** Escapes what it is given; a chart without groups or bars is an empty frame. */
export function timeByScale({ title, subtitle, groups }: Chart): string {
	const bars = groups.reduce((sum, group) => sum + group.bars.length, 0);
	const step = Math.max(26, Math.min(44, Math.floor((900 - GAP * groups.length) / Math.max(1, bars))));
	const width = Math.max(720, LEFT + bars * step + GAP * groups.length + 12);
	const ticks = axis(Math.max(1e-3, ...groups.flatMap((group) => group.bars.map((bar) => bar.milliseconds))));
	const y = (milliseconds: number) => round(TOP + HEIGHT - (milliseconds / ticks[ticks.length - 1]) * HEIGHT);
	const parts: string[] = [];
	for (const tick of ticks) {
		parts.push(
			`<line class="grid" x1="${LEFT}" x2="${width - 12}" y1="${y(tick)}" y2="${y(tick)}"/>`,
			text(LEFT - 8, y(tick) + 4, time(tick), "quiet end"),
		);
	}
	let x = LEFT + GAP / 2;
	for (const group of groups) {
		const middle = x + (group.bars.length * step) / 2;
		const longest = Math.max(...group.bars.map((bar) => bar.milliseconds));
		for (const bar of group.bars) {
			const top = y(bar.milliseconds);
			const hint = `${group.name}, ${bar.label}: ${time(bar.milliseconds)}${bar.estimated ? ", estimated" : ""}`;
			const place = `x="${round(x + step * 0.15)}" y="${top}"`;
			const size = `width="${round(step * 0.7)}" height="${round(TOP + HEIGHT - top)}"`;
			parts.push(
				`<rect class="${bar.stage}${bar.estimated ? " estimated" : ""}" ${place} ${size}>` +
					`<title>${escapeXml(hint)}</title></rect>`,
				step >= LABEL_WIDTH || bar.milliseconds === longest
					? text(x + step / 2, top - 5, time(bar.milliseconds), "value quiet middle")
					: "",
				text(x + step / 2, TOP + HEIGHT + 16, bar.label, "value quiet middle"),
			);
			x += step;
		}
		parts.push(
			text(middle, TOP + HEIGHT + 38, group.name, "name middle"),
			text(middle, TOP + HEIGHT + 55, `${time(group.total)} in all`, "quiet middle"),
		);
		x += GAP;
	}
	const legend = STAGES.map(
		(stage, i) =>
			`<rect class="${stage}" x="${LEFT + i * 100}" y="66" width="11" height="11"/>` +
			text(LEFT + 17 + i * 100, 76, stage, "quiet"),
	);
	const height = TOP + HEIGHT + 72;
	return svg({ title, subtitle, width, height, style: STYLE, dark: DARK }, LEFT, [...legend, ...parts]);
}

/** Round steps from 0 to at or above the largest. */
function axis(largest: number): number[] {
	const step = roundStep(largest / 5);
	return Array.from({ length: Math.ceil(largest / step) + 1 }, (_, i) => i * step);
}

/** Milliseconds. */
const UNITS: readonly [size: number, name: string][] = [
	[3_600_000, "h"],
	[60_000, "min"],
	[1000, "s"],
	[1, "ms"],
	[0.001, "µs"],
];

/** Two or three digits and a unit. */
export function time(milliseconds: number): string {
	if (milliseconds === 0) return "0";
	const [size, unit] = UNITS.find(([size]) => milliseconds >= size) ?? UNITS[UNITS.length - 1];
	const value = milliseconds / size;
	return `${Number(value.toPrecision(value >= 100 ? 3 : 2))} ${unit}`;
}
