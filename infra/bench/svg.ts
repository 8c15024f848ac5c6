/** Charts as plain SVG documents, for light and dark pages. */

export interface Frame {
	title: string;
	subtitle: string;
	width: number;
	height: number;
	/** Rules of the chart's own, and those on dark ground. */
	style?: string;
	dark?: string;
}

const HEADINGS = ".title { font-size: 17px; font-weight: 600; } .name { font-size: 13px; font-weight: 600; }";

/** Title and subtitle begin at `left`; both are escaped, `parts` are taken as they are. */
export function svg(
	{ title, subtitle, width, height, style = "", dark = "" }: Frame,
	left: number,
	parts: readonly string[],
): string {
	const size = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
	return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>${escapeXml(title)}</title>
<style>
svg { font: 12px ui-sans-serif, system-ui, sans-serif; }
.ground { fill: #faf7f4; } text { fill: #221c19; } .quiet { fill: #665b54; } ${HEADINGS}
.grid { stroke: #d9d0c8; } .end { text-anchor: end; } .middle { text-anchor: middle; }
${style}
@media (prefers-color-scheme: dark) {
.ground { fill: #171210; } text { fill: #f1e8e1; } .quiet { fill: #b3a59a; } .grid { stroke: #40352f; }
${dark}
}</style>
<rect class="ground" width="${width}" height="${height}"/>
${[text(left, 30, title, "title"), text(left, 51, subtitle, "quiet"), ...parts].join("\n")}
</svg>
`;
}

/** A step of 1, 2, 2.5 or 5 times a power of ten, at least `least`. */
export function roundStep(least: number): number {
	const power = 10 ** Math.floor(Math.log10(least));
	return power * ([1, 2, 2.5, 5].find((factor) => factor * power >= least) ?? 10);
}

export const text = (x: number, y: number, content: string, classes: string): string =>
	`<text class="${classes}" x="${round(x)}" y="${round(y)}">${escapeXml(content)}</text>`;
export const escapeXml = (content: string): string =>
	content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
/** A coordinate. */
export const round = (value: number): number => Number(value.toFixed(1));
