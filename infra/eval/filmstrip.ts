/**
 * A picture by several policies, scale by scale: `npm run filmstrip -- "a photo of a red apple" --out FILE.webp`.
 * A scale that a policy leaves out is left white.
 */
import { parseArgs } from "node:util";
import sharp from "sharp";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { DEFAULT_MODEL, openModelAt } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel, RgbImage } from "../../worker/engine/types.ts";
import { policies } from "../../worker/policies/index.ts";
import { MAX_SEED } from "../../worker/protocol/limits.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { fileNamed } from "../cli/options.ts";
import { OutputFile } from "../cli/output.ts";
import { script } from "../cli/script.ts";
import { oneOf, whole } from "../cli/usage.ts";
import { contactSheet } from "./sheet.ts";

/** Pixels of a side. */
const TILE = 128;

await script('npm run filmstrip -- "PROMPT" [--model NAME] [--policies NAMES] [--seed N] [--out FILE.webp]', filmstrip);

async function filmstrip(): Promise<void> {
	const { values, positionals } = parseArgs({
		allowPositionals: true,
		options: {
			model: { type: "string", default: DEFAULT_MODEL },
			policies: { type: "string", default: "exact,stagevar-auto" },
			seed: { type: "string", default: "7" },
			out: { type: "string", default: "filmstrip.webp" },
		},
	});
	const seed = whole("seed", values.seed, 0, MAX_SEED);
	const names = values.policies.split(",").map((name) => oneOf("policies", name, Object.keys(policies)));
	const out = await OutputFile.at("--out", fileNamed("out", ".webp")(values.out));
	const prompt = positionals[0] ?? "a photo of a red apple";
	const gpu = await openGpu();
	const model = await openModel(gpu, await openModelAt(values.model));
	const { grids } = model.info.schedules[model.info.defaultSchedule];

	const rows = [];
	for (const name of names) {
		const plan = policies[name].plan(model.info, {});
		await model.compile([plan]);
		const asked = { plan, prompt, seed, scales: grids.length };
		await film(model, asked);
		const { pictures, seconds, first } = await film(model, asked);
		const trade = model.info.trades?.[name];
		const score = trade ? `, score ${trade.score.toFixed(3)}` : "";
		rows.push({ caption: `${name}: ${seconds.toFixed(1)} s, first preview ${first.toFixed(2)} s${score}`, pictures });
		console.log(rows[rows.length - 1].caption);
	}
	const heads = [...grids.map(([height, width]) => `${height} x ${width}`), "picture"];
	await out.write(await contactSheet(heads, rows).webp({ quality: 85 }).toBuffer());
	console.log(`${out.path}, ${gpu.facts.name}`);
	model.destroy();
	gpu.destroy();
}

interface Filmed {
	plan: StagePlan;
	prompt: string;
	seed: number;
	scales: number;
}

/** Every scale's preview, the picture at the end, and seconds to it and to the first preview. */
async function film(model: LoadedModel, { plan, prompt, seed, scales }: Filmed) {
	const blank = { width: TILE, height: TILE, data: new Uint8Array(3 * TILE * TILE).fill(255) };
	const pictures: RgbImage[] = Array(scales + 1).fill(blank);
	const begun = performance.now();
	const since = () => (performance.now() - begun) / 1000;
	let [first, seconds] = [0, 0];
	for await (const result of model.generate({ plan, prompt, seed, previews: "all" })) {
		if (result.kind === "scale" && result.preview) {
			first ||= since();
			pictures[result.index] = result.preview;
		} else if (result.kind === "final") {
			seconds = since();
			pictures[scales] = result.image;
		}
	}
	return { pictures: await Promise.all(pictures.map(tile)), seconds, first };
}

async function tile({ width, height, data }: RgbImage): Promise<RgbImage> {
	const small = await sharp(data, { raw: { width, height, channels: 3 } })
		.resize(TILE, TILE)
		.raw()
		.toBuffer();
	return { width: TILE, height: TILE, data: new Uint8Array(small) };
}
