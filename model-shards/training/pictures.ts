/**
 * Makes training data of a folder with a captions.csv (columns file,caption): `npx node
 * model-shards/training/pictures.ts FOLDER OUT [SIDE]`. Writes OUT.json (side, captions) and OUT.rgb.gz (pictures one
 * after the other); see docs/training.md.
 */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import sharp from "sharp";

const MAX_CSV_BYTES = 64 * 2 ** 20;
const MAX_PICTURES = 200_000;
const MAX_CAPTION_CHARS = 1000;

export interface Captioned {
	file: string;
	caption: string;
}

/**
 * Rows of a CSV (RFC 4180) with the columns file and caption, in any order and beside others. Throws for what is no
 * such table.
 */
export function parseCaptions(text: string): Captioned[] {
	const [head, ...rows] = csvRows(text.replace(/^\uFEFF/, ""));
	const [file, caption] = ["file", "caption"].map((name) =>
		(head ?? []).findIndex((cell) => cell.trim().toLowerCase() === name),
	);
	if (file < 0 || caption < 0)
		throw new Error("captions.csv needs a first line that names the columns file and caption.");
	if (rows.length > MAX_PICTURES)
		throw new Error(`captions.csv has ${rows.length} rows; at most ${MAX_PICTURES} are read.`);
	return rows.map((row, index) => {
		const made = { file: row[file]?.trim() ?? "", caption: row[caption]?.trim() ?? "" };
		if (!made.file || !made.caption) throw new Error(`Row ${index + 2} of captions.csv lacks a file or a caption.`);
		if (made.caption.length > MAX_CAPTION_CHARS)
			throw new Error(
				`The caption in row ${index + 2} of captions.csv is longer than ${MAX_CAPTION_CHARS} characters.`,
			);
		return made;
	});
}

function csvRows(text: string): string[][] {
	const rows: string[][] = [];
	let row: string[] = [];
	// One cell and what ends it: a comma, the end of a line, or of the text.
	for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
		if (end === "" && quoted === undefined && plain === "" && row.length === 0) break;
		row.push(quoted?.replaceAll('""', '"') ?? plain);
		if (end === ",") continue;
		if (row.length > 1 || row[0] !== "") rows.push(row);
		row = [];
		if (end === "") break;
	}
	return rows;
}

/** Middle square of a picture, `side` pixels wide, RGB, transparency on white. */
export async function square(path: string, side: number): Promise<Uint8Array> {
	return await sharp(path)
		.autoOrient()
		.flatten({ background: "#ffffff" })
		.resize(side, side, { fit: "cover" })
		.toColourspace("srgb")
		.removeAlpha()
		.raw()
		.toBuffer();
}

/** Reads FOLDER/captions.csv and its pictures. Throws for files outside the folder and pictures that cannot be read. */
export async function readPictures(folder: string, side: number): Promise<{ captions: string[]; rgb: Uint8Array }> {
	const table = join(folder, "captions.csv");
	const { size } = await stat(table);
	if (size > MAX_CSV_BYTES) throw new Error(`${table} has ${size} bytes; at most ${MAX_CSV_BYTES} are read.`);
	const rows = parseCaptions(await readFile(table, "utf8"));
	if (rows.length === 0) throw new Error(`${table} names no pictures.`);
	const pictures: Uint8Array[] = [];
	for (const { file } of rows) {
		const path = resolve(folder, file);
		if (relative(resolve(folder), path).split(sep)[0] === "..")
			throw new Error(`${file} lies outside ${folder}; captions.csv names files inside it.`);
		try {
			pictures.push(await square(path, side));
		} catch (error) {
			throw new Error(`${path} cannot be read as a picture: ${(error as Error).message}`, { cause: error });
		}
	}
	return { captions: rows.map(({ caption }) => caption), rgb: Buffer.concat(pictures) };
}

if (import.meta.main) {
	const [folder, out, side = "128"] = process.argv.slice(2);
	if (!folder || !out || !/^\d+$/.test(side)) {
		console.error("usage: node model-shards/training/pictures.ts FOLDER OUT [SIDE]");
		process.exit(2);
	}
	const { captions, rgb } = await readPictures(folder, Number(side));
	await writeFile(`${out}.json`, `${JSON.stringify({ side: Number(side), captions }, null, "\t")}\n`);
	await writeFile(`${out}.rgb.gz`, await promisify(gzip)(rgb));
	console.log(`${captions.length} pictures of ${side} x ${side} pixels to ${out}`);
}
