/** Time by scale as a picture: a group of bars by policy, coloured by stage, on a common axis. Plain SVG, for light and dark pages. */
import type { Stage } from "../../worker/protocol/plan.ts";

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
// Okabe and Ito's palette, lighter on dark ground.
const STYLE = `
svg { font: 12px ui-sans-serif, system-ui, sans-serif; }
.ground { fill: #faf7f4; } text { fill: #221c19; } .quiet { fill: #665b54; } .title { font-size: 17px; font-weight: 600; } .name { font-size: 13px; font-weight: 600; }
.grid { stroke: #d9d0c8; } .value { font-size: 10px; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.semantic { fill: #d55e00; stroke: #d55e00; } .structure { fill: #0072b2; stroke: #0072b2; } .fidelity { fill: #009e73; stroke: #009e73; }
.estimated { fill-opacity: 0.15; stroke-dasharray: 3 2; }
@media (prefers-color-scheme: dark) {
.ground { fill: #171210; } text { fill: #f1e8e1; } .quiet { fill: #b3a59a; } .grid { stroke: #40352f; }
.semantic { fill: #e69f00; stroke: #e69f00; } .structure { fill: #56b4e9; stroke: #56b4e9; } .fidelity { fill: #2bbd93; stroke: #2bbd93; }
}`;

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
		parts.push(`<line class="grid" x1="${LEFT}" x2="${width - 12}" y1="${y(tick)}" y2="${y(tick)}"/>`, text(LEFT - 8, y(tick) + 4, time(tick), "quiet end"));
	}
	let x = LEFT + GAP / 2;
	for (const group of groups) {
		const middle = x + (group.bars.length * step) / 2;
		const longest = Math.max(...group.bars.map((bar) => bar.milliseconds));
		for (const bar of group.bars) {
			const top = y(bar.milliseconds);
			const hint = `${group.name}, ${bar.label}: ${time(bar.milliseconds)}${bar.estimated ? ", estimated" : ""}`;
			parts.push(
				`<rect class="${bar.stage}${bar.estimated ? " estimated" : ""}" x="${round(x + step * 0.15)}" y="${top}" width="${round(step * 0.7)}" height="${round(TOP + HEIGHT - top)}"><title>${escape(hint)}</title></rect>`,
				step >= LABEL_WIDTH || bar.milliseconds === longest ? text(x + step / 2, top - 5, time(bar.milliseconds), "value quiet middle") : "",
				text(x + step / 2, TOP + HEIGHT + 16, bar.label, "value quiet middle"),
			);
			x += step;
		}
		parts.push(text(middle, TOP + HEIGHT + 38, group.name, "name middle"), text(middle, TOP + HEIGHT + 55, `${time(group.total)} in all`, "quiet middle"));
		x += GAP;
	}
	const legend = STAGES.map((stage, i) => `<rect class="${stage}" x="${LEFT + i * 100}" y="66" width="11" height="11"/>${text(LEFT + 17 + i * 100, 76, stage, "quiet")}`);
	const height = TOP + HEIGHT + 72;
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escape(title)}</title>
<style>${STYLE}</style>
<rect class="ground" width="${width}" height="${height}"/>
${[text(LEFT, 30, title, "title"), text(LEFT, 51, subtitle, "quiet"), ...legend, ...parts].join("\n")}
</svg>
`;
}

/** Round steps from 0 to at or above the largest. */
function axis(largest: number): number[] {
	const raw = largest / 5;
	const power = 10 ** Math.floor(Math.log10(raw));
	const step = power * ([1, 2, 2.5, 5].find((factor) => factor * power >= raw) ?? 10);
	return Array.from({ length: Math.ceil(largest / step) + 1 }, (_, i) => i * step);
}

/** Two or three digits and a unit. */
export function time(milliseconds: number): string {
	if (milliseconds === 0) return "0";
	const [value, unit] = milliseconds >= 3_600_000 ? [milliseconds / 3_600_000, "h"] : milliseconds >= 60_000 ? [milliseconds / 60_000, "min"] : milliseconds >= 1000 ? [milliseconds / 1000, "s"] : milliseconds >= 1 ? [milliseconds, "ms"] : [milliseconds * 1000, "µs"];
	return `${Number(value.toPrecision(value >= 100 ? 3 : 2))} ${unit}`;
}

export const text = (x: number, y: number, content: string, classes: string) => `<text class="${classes}" x="${round(x)}" y="${round(y)}">${escape(content)}</text>`;
export const escape = (content: string) => content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
export const round = (value: number) => Number(value.toFixed(1));
