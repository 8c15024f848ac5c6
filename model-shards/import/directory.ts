/** Imports a released model directory: config.json, transformer.safetensors, vae.safetensors, tokenizer.json. */
import { join } from "node:path";
import { z } from "zod";
import type { Families } from "../../worker/families/family.ts";
import { familyOf } from "../../worker/families/model.ts";
import { aspectOfGrid } from "../../worker/families/shared/aspect.ts";
import { formed } from "../format/json.ts";
import type { Manifest } from "../format/manifest.ts";
import { readJson } from "../format/source/files.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { shapesOf, unwrapped } from "./formats/tensor-source.ts";
import { importModel } from "./model.ts";
import type { WriteOptions } from "./tensors.ts";

const Directory = z.looseObject({
	name: z.string(),
	/** The family. */
	architecture: z.string(),
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
	families?: Families;
}

export async function importModelDirectory(
	dir: string,
	out: string,
	{ licence = "unknown", families, ...options }: DirectoryOptions = {},
): Promise<Manifest> {
	const path = join(dir, "config.json");
	const directory = formed(Directory, await readJson(path), `${path} does not describe a released model`);
	const { name, architecture, image_size, vae, transformer, sampling } = directory;
	const grids = transformer.scale_schedule;
	const { name: aspect, reach } = aspectOfGrid(grids[grids.length - 1]);
	await using weights = await openCheckpoint(join(dir, "transformer.safetensors"));
	const config = familyOf(architecture, families).official.config({
		config: transformer,
		vae,
		shapes: shapesOf(unwrapped(weights)),
		reach: { [aspect]: reach },
	});
	return await importModel({
		weights,
		vae: join(dir, "vae.safetensors"),
		tokenizer: join(dir, "tokenizer.json"),
		head: {
			name,
			family: architecture,
			config,
			schedules: { [aspect]: { grids, image: { height: image_size[0], width: image_size[1] } } },
			defaultSchedule: aspect,
			sampling: { guidance: sampling.cfg, tau: sampling.tau, topK: sampling.top_k, topP: sampling.top_p },
			licence,
		},
		families,
		out,
		...options,
	});
}
