/** Charts as SVG documents for light and dark pages: what a chart shows is its own, Vega draws it. */
import { parse, type Spec, View } from "vega";

/** Colours by what they are for: Okabe and Ito's palette. */
export const INK = "#221c19";
export const QUIET = "#665b54";
export const ACCENTS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#777777"];
const [GROUND, GRID] = ["#faf7f4", "#d9d0c8"];

/** What takes the place of a colour on dark ground. */
const ON_DARK: Readonly<Record<string, string>> = {
	[GROUND]: "#171210",
	[GRID]: "#40352f",
	[INK]: "#f1e8e1",
	[QUIET]: "#b3a59a",
	"#d55e00": "#e98b3a",
	"#0072b2": "#4f9fd6",
	"#009e73": "#2bbd93",
};

export interface Drawing extends Partial<Pick<Spec, "data" | "scales" | "axes" | "legends" | "marks" | "layout">> {
	title: string;
	/** Adapter, and what the figures are; in lines where one is longer than the plot is wide, which it would widen. */
	subtitle: string | string[];
	/** Pixels of the plot itself, or of each of its parts. */
	width: number;
	height: number;
}

/** The document; texts are escaped. */
export async function draw({ title, subtitle, ...chart }: Drawing): Promise<string> {
	const spec: Spec = {
		...chart,
		background: GROUND,
		padding: 16,
		title: { text: title, subtitle, anchor: "start", frame: "bounds", offset: 16, subtitlePadding: 6 },
		config: CONFIG,
	};
	const exact = await new View(parse(spec), { renderer: "none" }).toSVG();
	// Hundredths of a pixel are seen by nobody.
	const svg = exact.replace(/ (?:d|transform|width|height|[xy][12]?)="[^"]*"/g, (place) =>
		place.replace(/\d+\.\d{3,}/g, (number) => Number(number).toFixed(2)),
	);
	const dark = Object.entries(ON_DARK).map(
		([light, dark]) => `[fill="${light}"] { fill: ${dark}; } [stroke="${light}"] { stroke: ${dark}; }`,
	);
	const style = `<style>@media (prefers-color-scheme: dark) {\n${dark.join("\n")}\n}</style>`;
	return `${svg.replace(/^(<svg[^>]*>)/, (open) => `${open}\n${style}\n`)}\n`;
}

const FONT = "ui-sans-serif, system-ui, sans-serif";
const CONFIG: Spec["config"] = {
	title: {
		font: FONT,
		fontSize: 17,
		fontWeight: 600,
		color: INK,
		subtitleFont: FONT,
		subtitleFontSize: 12,
		subtitleColor: QUIET,
	},
	axis: {
		labelFont: FONT,
		labelFontSize: 11,
		labelColor: QUIET,
		titleFont: FONT,
		titleFontSize: 12,
		titleFontWeight: "normal",
		titleColor: QUIET,
		gridColor: GRID,
		domainColor: GRID,
		tickColor: GRID,
	},
	legend: { labelFont: FONT, labelFontSize: 12, labelColor: INK, titleFont: FONT, titleColor: QUIET },
	text: { font: FONT, fontSize: 12, fill: INK },
};
