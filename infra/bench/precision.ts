/**
 * int8 and int4 copies of a model beside it, and the model with such keys: size, time of a picture on the same adapter,
 * and what changes.
 */
import { join } from "node:path";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { residentBytes } from "../../model-shards/format/layout.ts";
import { importFolder } from "../../model-shards/import/folder.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { type OpenOptions, openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { exact } from "../../worker/policies/exact.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { median } from "../median.ts";
import { temporaryFolder } from "../temporary.ts";
import { difference, type ModelDifference, type Subject } from "../verify/against.ts";
import type { Watch } from "./measure.ts";

export interface PrecisionRow {
	precision: string;
	/** Bytes of the files' tensors, and of the weights on the device. */
	stored: number;
	resident: number;
	/** Milliseconds of a picture by the exact plan, previews left out. */
	picture_ms: number;
	/** Against the model as it is, means over the prompts; null for itself. */
	logits: number | null;
	bits: number | null;
	/** Decibels: median, and least, of pictures of the same seed. */
	psnr: number | null;
	least_psnr: number | null;
}

const PROMPTS = [
	"a photo of a red apple",
	"a photo of two horses",
	"a photo of a yellow bus",
	"a photo of a cake above a chair",
];

const subjectsOf = ({ classes }: ModelInfo): Subject[] =>
	PROMPTS.map((prompt, i) => (classes === undefined ? { prompt } : { label: i % classes }));

/** `rounds` pictures of each, in turns. The copies are made in a temporary folder. */
export async function benchPrecision(
	gpu: Gpu,
	modelName: string,
	rounds: number,
	{ signal, progress }: Watch = {},
): Promise<PrecisionRow[]> {
	using dir = await temporaryFolder("precision-");
	const original = await openModelFolder(findModel(modelName));
	const folders: [string, ModelFolder, OpenOptions?][] = [["as stored", original]];
	for (const dtype of ["int8", "int4"] as const) {
		await importFolder(original, { out: join(dir.path, dtype), dtype });
		folders.push([dtype, await openModelFolder(join(dir.path, dtype))]);
	}
	for (const cacheDtype of ["int8", "int4"] as const) folders.push([`keys as ${cacheDtype}`, original, { cacheDtype }]);
	const models: LoadedModel[] = [];
	for (const [, folder, options] of folders) models.push(await openModel(gpu, folder, options));
	const compared = (models.length - 1) * PROMPTS.length;
	const pictures = models.length * (rounds + 1) + compared;
	let done = 0;
	const made = () => progress?.(++done, pictures);
	progress?.(done, pictures);
	const times = await timesOf(models, rounds, made, signal);
	const rows: PrecisionRow[] = [];
	for (const [i, [precision, { manifest, wanted }]] of folders.entries()) {
		const differences: ModelDifference[] = [];
		if (i > 0)
			for (const [seed, subject] of subjectsOf(models[0].info).entries()) {
				differences.push(await difference(models[0], models[i], exact.plan(models[0].info, {}), subject, seed));
				made();
			}
		const scales = differences.flatMap(({ scales }) => scales);
		const mean = (values: number[]) =>
			values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
		const psnrs = differences.map(({ seedPsnr }) => seedPsnr);
		rows.push({
			precision,
			stored: manifest.tensors.reduce((sum, { bytes }) => sum + bytes, 0),
			resident: residentBytes(manifest.tensors, wanted).reduce((sum, { bytes }) => sum + bytes, 0),
			picture_ms: median(times[i]),
			logits: mean(scales.map(({ logits }) => logits)),
			bits: mean(scales.map(({ bits }) => bits)),
			psnr: i ? median(psnrs) : null,
			least_psnr: i ? Math.min(...psnrs) : null,
		});
	}
	for (const model of models) model.destroy();
	return rows;
}

/** After one picture of each for compiling. */
async function timesOf(
	models: readonly LoadedModel[],
	rounds: number,
	made: () => void,
	signal?: AbortSignal,
): Promise<number[][]> {
	const times = models.map((): number[] => []);
	for (const model of models) await model.compile([exact.plan(model.info, {})]);
	for (let round = -1; round < rounds; round++) {
		for (const [i, model] of models.entries()) {
			for await (const result of model.generate({
				plan: exact.plan(model.info, {}),
				...subjectsOf(model.info)[0],
				seed: 1,
				previews: "none",
				signal,
			})) {
				if (result.kind === "final" && round >= 0) times[i].push(result.milliseconds.total);
			}
			made();
		}
	}
	return times;
}
