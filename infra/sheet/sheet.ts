/** `npx node infra/sheet/sheet.ts [POLICY]`: twelve prompts with the default model on one sheet, docs/sheet-POLICY.png, row by row. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import sharp, { type OverlayOptions } from "sharp";
import { Gpu } from "../../kernels/gpu.ts";
import { findModel, openModelFolder } from "../../model-shards/folder.ts";
import { openModel } from "../../worker/engine/open-model.ts";
import { policies } from "../../worker/engine/plan/policies.ts";

const PROMPTS = [
	"a photo of a red apple", "a photo of a bicycle", "a photo of an elephant", "a photo of a pizza",
	"a photo of a yellow bus", "a photo of a green umbrella", "a photo of two horses", "a photo of three donuts",
	"a photo of a cat", "a photo of a fire hydrant", "a photo of a blue car", "a photo of a cake above a chair",
];
const COLUMNS = 4;
const GAP = 8;

const [name = "exact"] = process.argv.slice(2);
if (!Object.hasOwn(policies, name)) {
	console.error(`There is no policy ${name}. There are: ${Object.keys(policies).join(", ")}.`);
	process.exit(2);
}
const gpu = await Gpu.open();
const model = await openModel(gpu, await openModelFolder(findModel("emoji-128")));
const plan = policies[name].plan(model.info, {});
const tiles: OverlayOptions[] = [];
let side = 0;
for (const [i, prompt] of PROMPTS.entries()) {
	for await (const result of model.generate({ plan, prompt, seed: i + 1, previews: "none" })) {
		if (result.kind !== "final") continue;
		const { width, height, data } = result.image;
		side = width + GAP;
		tiles.push({ input: Buffer.from(data), raw: { width, height, channels: 3 }, left: GAP + (i % COLUMNS) * side, top: GAP + Math.floor(i / COLUMNS) * side });
		console.log(`${prompt}, seed ${i + 1}: ${Math.round(result.milliseconds.total)} ms`);
	}
}
const out = join(import.meta.dirname, "..", "..", "docs");
await mkdir(out, { recursive: true });
await sharp({ create: { width: COLUMNS * side + GAP, height: Math.ceil(PROMPTS.length / COLUMNS) * side + GAP, channels: 3, background: "white" } })
	.composite(tiles)
	.png()
	.toFile(join(out, `sheet-${name}.png`));
process.exit(0);
