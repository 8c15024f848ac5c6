/** Speed against quality as a picture: one point a policy. */
import { escapeXml, round, roundStep, svg, text } from "../bench/svg.ts";
import type { Quality, Summary } from "./summary.ts";

// Okabe and Ito's palette, lighter on dark ground.
const STYLE =
	".point { fill: #0072b2; } .interval { stroke: #0072b2; stroke-width: 1.5; } .baseline .point { fill: #d55e00; }";
const DARK = ".point { fill: #56b4e9; } .interval { stroke: #56b4e9; } .baseline .point { fill: #e69f00; }";

const [WIDTH, HEIGHT] = [720, 440];
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 24, 84, 56];

export type Point = Summary & { quality: Quality };

/**
 * Scores of the policies over how many times faster their transformer was; by floating point operations where nothing
 * was timed. Bars are the 95 % interval of the difference to the baseline, the first.
 */
export function speedAgainstQuality(title: string, subtitle: string, points: readonly Point[]): string {
	const timed = points.every(({ speedup }) => speedup !== null);
	const speed = ({ speedup, cost }: Point) =>
		timed && speedup ? speedup.transformer : points[0].cost.transformerFlops / cost.transformerFlops;
	const base = points[0]?.quality.overall ?? 1;
	const interval = ({ quality: { difference } }: Point) => [
		Math.max(0, base + difference.lower),
		Math.min(1, base + difference.upper),
	];
	const xs = ticks(Math.min(1, ...points.map(speed)), Math.max(2, ...points.map(speed)));
	const ys = ticks(
		Math.min(Math.max(0, base - 0.05), ...points.map((point) => interval(point)[0])),
		Math.min(1, Math.max(base, ...points.map((point) => interval(point)[1]))),
	);
	const scale = (values: readonly number[], from: number, to: number) => (value: number) =>
		round(from + ((value - values[0]) / (values[values.length - 1] - values[0])) * (to - from));
	const x = scale(xs, LEFT, WIDTH - RIGHT);
	const y = scale(ys, HEIGHT - BOTTOM, TOP);
	const grid = [
		...xs.map((tick) => {
			const line = `<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`;
			return line + text(x(tick), HEIGHT - BOTTOM + 18, `${tick}x`, "quiet middle");
		}),
		...ys.map((tick) => {
			const line = `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick)}" y2="${y(tick)}"/>`;
			return line + text(LEFT - 8, y(tick) + 4, String(tick), "quiet end");
		}),
	];
	const marks = points.map((point, i) => {
		const [px, py] = [x(speed(point)), y(point.quality.overall)];
		const [low, high] = interval(point);
		const hint = `${point.policy}: ${point.quality.overall.toFixed(3)} at ${speed(point).toFixed(2)}x`;
		const last = px > WIDTH - 160;
		const bar = `<line class="interval" x1="${px}" x2="${px}" y1="${y(low)}" y2="${y(high)}"/>`;
		const dot = `<circle class="point" cx="${px}" cy="${py}" r="5"><title>${escapeXml(hint)}</title></circle>`;
		const name = text(last ? px - 9 : px + 9, py - 6, point.policy, last ? "name end" : "name");
		return `<g${i === 0 ? ' class="baseline"' : ""}>${bar}${dot}${name}</g>`;
	});
	const axes = [
		text(LEFT, TOP - 10, "overall score", "quiet"),
		text(
			WIDTH - RIGHT,
			HEIGHT - 14,
			timed ? "transformer, times faster (measured)" : "transformer, times fewer operations",
			"quiet end",
		),
	];
	return svg({ title, subtitle, width: WIDTH, height: HEIGHT, style: STYLE, dark: DARK }, LEFT, [
		...axes,
		...grid,
		...marks,
	]);
}

/** Round steps that enclose both. */
function ticks(low: number, high: number): number[] {
	const step = roundStep(Math.max(1e-6, high - low) / 6);
	const first = Math.floor(low / step + 1e-9);
	const last = Math.ceil(high / step - 1e-9);
	return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}
