/** A contact sheet: a row a prompt, a column a policy. */
import sharp, { type OverlayOptions, type Sharp } from "sharp";
import type { RgbImage } from "../../worker/engine/types.ts";

const GAP = 6;
const HEAD = 26;
const FOOT = 18;
/** A letter of a label is at most so much of its size wide, on the average of a word. */
const LETTER = 0.62;
const [NAME, CAPTION] = [13, 12];

export interface SheetRow {
	/** Under its pictures, which are in the order of the columns. */
	caption: string;
	pictures: readonly RgbImage[];
}

/** All pictures are of one size. */
export function contactSheet(columns: readonly string[], rows: readonly SheetRow[]): Sharp {
	const { width, height } = rows[0].pictures[0];
	const room = (size: number, texts: readonly string[]) =>
		Math.ceil(LETTER * size * Math.max(...texts.map(({ length }) => length)));
	// No narrower than its name, so that none lies on the next.
	const columnWidth = Math.max(width, room(NAME, columns));
	const left = (column: number) => GAP + column * (columnWidth + GAP);
	const top = (row: number) => HEAD + row * (height + FOOT + GAP);
	const captions = rows.map(({ caption }) => caption);
	const sheetWidth = Math.max(left(columns.length), room(CAPTION, captions) + 2 * GAP);
	const sheetHeight = top(rows.length);
	const label = (x: number, y: number, size: number, content: string) =>
		`<text x="${x}" y="${y}" font-family="sans-serif" font-size="${size}" fill="#222">${escapeXml(content)}</text>`;
	const labels = [
		...columns.map((name, column) => label(left(column), HEAD - 9, NAME, name)),
		...captions.map((caption, row) => label(GAP, top(row) + height + 13, CAPTION, caption)),
	];
	const tiles = rows.flatMap(({ pictures }, row) =>
		pictures.map(
			(picture, column): OverlayOptions => ({
				input: Buffer.from(picture.data),
				raw: { width, height, channels: 3 },
				left: left(column),
				top: top(row),
			}),
		),
	);
	const text = Buffer.from(
		`<svg xmlns="http://www.w3.org/2000/svg" width="${sheetWidth}" height="${sheetHeight}">${labels.join("")}</svg>`,
	);
	return sharp({ create: { width: sheetWidth, height: sheetHeight, channels: 3, background: "white" } }).composite([
		...tiles,
		{ input: text, left: 0, top: 0 },
	]);
}

const escapeXml = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
