/** Imports a released model directory: config.json, transformer.safetensors, vae.safetensors, tokenizer.json. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { infinityConfigFromReference } from "../../worker/families/infinity/official.ts";
import { aspectOfGrid } from "../../worker/families/shared/aspect.ts";
import { type Manifest, ModelFormatError } from "../format/manifest.ts";
import { openSafetensors } from "./formats/safetensors.ts";
import type { TensorSource } from "./formats/tensor-source.ts";
import { importInfinity } from "./import-infinity.ts";
import type { WriteOptions } from "./tensors.ts";

const Directory = z.looseObject({
	name: z.string(),
	architecture: z.literal("infinity"),
	image_size: z.tuple([z.int(), z.int()]),
	vae: z.looseObject({}),
	transformer: z.looseObject({ scale_schedule: z.array(z.tuple([z.int(), z.int()])).min(1) }),
	sampling: z.looseObject({
		cfg: z.number(),
		tau: z.number(),
		top_k: z.int().default(0),
		top_p: z.number().default(0),
	}),
});

export interface DirectoryOptions extends Omit<WriteOptions, "out"> {
	licence?: string;
}

export async function importModelDirectory(
	dir: string,
	out: string,
	{ licence = "unknown", ...options }: DirectoryOptions = {},
): Promise<Manifest> {
	const parsed = Directory.safeParse(await readJson(join(dir, "config.json")));
	if (!parsed.success)
		throw new ModelFormatError(
			`${join(dir, "config.json")} does not describe an Infinity model:\n${z.prettifyError(parsed.error)}`,
		);
	const { name, image_size, vae, transformer, sampling } = parsed.data;
	const grids = transformer.scale_schedule;
	const { name: aspect, reach } = aspectOfGrid(grids[grids.length - 1]);
	await using weights = await openSafetensors(join(dir, "transformer.safetensors"));
	return await importInfinity({
		weights,
		vae: join(dir, "vae.safetensors"),
		tokenizer: join(dir, "tokenizer.json"),
		config: infinityConfigFromReference(transformer, vae, shapesOf(weights), { [aspect]: reach }),
		name,
		schedules: { [aspect]: { grids, image: { height: image_size[0], width: image_size[1] } } },
		defaultSchedule: aspect,
		sampling: { guidance: sampling.cfg, tau: sampling.tau, topK: sampling.top_k, topP: sampling.top_p },
		licence,
		out,
		...options,
	});
}

export function shapesOf(source: TensorSource): Map<string, number[]> {
	return new Map([...source.tensors].map(([name, { shape }]) => [name, shape]));
}

export async function readJson(path: string): Promise<unknown> {
	try {
		return JSON.parse(await readFile(path, "utf8"));
	} catch (error) {
		throw new ModelFormatError(`${path} cannot be read as JSON: ${(error as Error).message}`, { cause: error });
	}
}
