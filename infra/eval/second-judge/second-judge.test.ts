import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import type { RgbImage } from "../../../worker/engine/types.ts";
import { SecondJudge } from "./second-judge.ts";

const SPRITES = join(import.meta.dirname, "..", "..", "..", "model-shards", "training", "sprites", "sprites");
const GROUND = "#e1e8ee";
const judge = await SecondJudge.open();
afterAll(() => judge.close());

/** An object of the recipe, large, on a plain ground. */
async function drawing(object: string): Promise<RgbImage> {
	const { names, side } = JSON.parse(readFileSync(`${SPRITES}.json`, "utf8")) as { names: string[]; side: number };
	const bytes = 4 * side ** 2;
	const at = names.indexOf(object) * bytes;
	const sprite = gunzipSync(readFileSync(`${SPRITES}.rgba.gz`)).subarray(at, at + bytes);
	const drawn = sharp(sprite, { raw: { width: side, height: side, channels: 4 } })
		.flatten({ background: GROUND })
		.extend({ top: 40, bottom: 40, left: 40, right: 40, background: GROUND })
		.removeAlpha();
	const { data, info } = await drawn.raw().toBuffer({ resolveWithObject: true });
	return { width: info.width, height: info.height, data: new Uint8Array(data) };
}
const asking = (...objects: string[]) => ({ include: objects.map((name) => ({ class: name, count: 1 })) });

test("finds what is drawn, and not what is not", async () => {
	const [bicycle, apple] = await Promise.all([drawing("bicycle"), drawing("apple")]);
	const found = await Promise.all([
		judge.present(bicycle, asking("bicycle", "laptop")),
		judge.present(apple, asking("bicycle", "laptop")),
	]);
	expect(found).toEqual([
		{ bicycle: true, laptop: false },
		{ bicycle: false, laptop: false },
	]);
});

test("says nothing of objects that it cannot tell", async () => {
	expect(judge.tells(asking("toothbrush"))).toBe(false);
	expect(await judge.present(await drawing("bicycle"), asking("toothbrush", "bicycle"))).toEqual({ bicycle: true });
});
