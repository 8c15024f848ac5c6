/**
 * Draws the sprites: `npm ci --prefix model-shards/training/sprites && node model-shards/training/sprites/build.ts
 * [SIDE] [OUT]`, where SIDE is 128 and OUT model-shards/training/sprites/sprites. Writes OUT.json (side, names) and
 * OUT.rgba.gz (straight alpha, one sprite after the other). The bundled sprites are 128 pixels wide; a model of larger
 * pictures wants larger ones.
 */
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { z } from "zod";
import { DRAWINGS, ICONS } from "./art.ts";

const Box = {
	left: z.number().default(0),
	top: z.number().default(0),
	width: z.number().optional(),
	height: z.number().optional(),
};
const IconSet = z.looseObject({
	icons: z.record(z.string(), z.looseObject({ body: z.string(), ...Box })),
	aliases: z.record(z.string(), z.looseObject({ parent: z.string() })).default({}),
	width: z.number().default(16),
	height: z.number().default(16),
});
type IconSet = z.infer<typeof IconSet>;

export function iconSvg(set: IconSet, name: string): string {
	const icon = set.icons[name] ?? set.icons[set.aliases[name]?.parent];
	if (!icon) throw new Error(`The icon set has no ${name}; art.ts names an icon that this version lacks.`);
	const { left, top, width = set.width, height = set.height, body } = icon;
	return (
		`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` +
		`viewBox="${left} ${top} ${width} ${height}">${body}</svg>`
	);
}

/** RGBA bytes with straight alpha, `side` by `side`. */
export async function render(svg: string, side: number): Promise<Uint8Array> {
	// librsvg draws at the density asked for, so nothing is scaled afterwards; a viewBox of 32 units is 32 pixels at 72
	// dpi.
	const units = Number(/viewBox="\S+ \S+ (\S+)/.exec(svg)?.[1]);
	const image = sharp(Buffer.from(svg.replace("<svg ", `<svg width="${units}" height="${units}" `)), {
		density: (72 * side) / units,
	});
	return await image.resize(side, side).ensureAlpha().raw().toBuffer();
}

if (import.meta.main) {
	const side = Number(process.argv[2] ?? 128);
	const out = process.argv[3] ?? join(import.meta.dirname, "sprites");
	if (!Number.isInteger(side) || side < 16 || side > 1024)
		throw new Error(`SIDE must be a whole number from 16 to 1024, not ${process.argv[2]}.`);
	const file = createRequire(import.meta.url).resolve("@iconify-json/fluent-emoji/icons.json");
	const set = IconSet.parse(JSON.parse(await readFile(file, "utf8")));
	const names = Object.keys(ICONS);
	const sprites: Uint8Array[] = [];
	for (const name of names) {
		const icon = ICONS[name];
		sprites.push(await render(icon === null ? DRAWINGS[name] : iconSvg(set, icon), side));
	}
	await writeFile(`${out}.json`, `${JSON.stringify({ side, names }, null, "\t")}\n`);
	await writeFile(`${out}.rgba.gz`, gzipSync(Buffer.concat(sprites), { level: 9 }));
	console.log(
		`${names.length} sprites of ${side} x ${side} pixels, ${Object.keys(DRAWINGS).length} of them own ` +
			`drawings, to ${out}`,
	);
}
