/** Imports a reference set (format 1) so that the production path can be checked against it. */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import type { ReferenceKind } from "../../worker/families/checkpoints.ts";
import type { Families, Family } from "../../worker/families/family.ts";
import { families as all } from "../../worker/families/index.ts";
import { type Aspect, aspectOf, aspectOfGrid } from "../../worker/families/shared/aspect.ts";
import { pixelsPerCell } from "../../worker/families/shared/vae.ts";
import type { Schedule } from "../../worker/protocol/model-info.ts";
import { MissingFileError, ModelFormatError } from "../format/errors.ts";
import { formed } from "../format/json.ts";
import type { Manifest } from "../format/manifest.ts";
import { readJson } from "../format/source/files.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { shapesOf, unwrapped } from "./formats/tensor-source.ts";
import { importModel } from "./model.ts";

/** `[t, h, w]` per scale. */
const Scales = z.array(z.tuple([z.literal(1), z.int().min(1), z.int().min(1)])).min(1);
/** A run's settings; where a run has none, those of the manifest hold. */
const Settings = {
	scale_schedule: Scales.optional(),
	h_div_w_template: z.number().gt(0).optional(),
	cfg: z.number().optional(),
	tau: z.number().optional(),
	top_k: z.int().optional(),
	top_p: z.number().optional(),
};

const ReferenceSet = z.looseObject({
	format: z.literal(1),
	kind: z.string(),
	config: z.looseObject({}),
	vae_config: z.looseObject({}),
	weights_file: z.string(),
	vae_file: z.string(),
	tokenizer_file: z.string().optional(),
	/** Settings of the sets that have no others. */
	inference: z.looseObject({ cfg: z.number().optional() }).optional(),
	...Settings,
	runs: z.record(z.string(), z.looseObject(Settings)),
});
export type ReferenceSet = z.infer<typeof ReferenceSet>;

/** The family that a kind of set is recorded of, and how. `where` stands in the ModelFormatError for an unknown one. */
export function kindOf(
	kind: string,
	where: string,
	families: Families = all,
): { family: Family; recorded: ReferenceKind } {
	for (const family of Object.values(families))
		if (Object.hasOwn(family.official.kinds, kind)) return { family, recorded: family.official.kinds[kind] };
	const known = Object.values(families).flatMap(({ official }) => Object.keys(official.kinds));
	throw new ModelFormatError(`${where} is of the kind ${kind}; this engine verifies the kinds ${known.join(", ")}.`);
}

export async function readReferenceSet(manifestPath: string): Promise<ReferenceSet> {
	const problem = `${manifestPath} is not a reference set this version reads`;
	const set = formed(ReferenceSet, await readJson(manifestPath), problem);
	if (Object.keys(set.runs).length === 0) throw new ModelFormatError(`${manifestPath} has no runs.`);
	return set;
}

export interface ReferenceGrids {
	/** By schedule. */
	grids: Record<string, Schedule["grids"]>;
	/** The last grid of a schedule's aspect. */
	reach: Record<string, [height: number, width: number]>;
	/** Schedule name of every run. */
	ofRun: Record<string, string>;
}

/** Schedules by aspect (`1:1`, `2:1`); a further schedule of the same aspect gets its run's name behind it. */
export function referenceGrids(set: ReferenceSet): ReferenceGrids {
	const result: ReferenceGrids = { grids: {}, reach: {}, ofRun: {} };
	for (const [run, settings] of Object.entries(set.runs)) {
		const scales = settings.scale_schedule ?? set.scale_schedule;
		if (!scales) throw new ModelFormatError(`Run ${run} has no scale_schedule, and neither has its manifest.`);
		const grids = scales.map(([, height, width]): [number, number] => [height, width]);
		const template = settings.h_div_w_template ?? set.h_div_w_template;
		const aspect: Aspect = template === undefined ? aspectOfGrid(grids[grids.length - 1]) : aspectOf(template);
		const same = Object.keys(result.grids).find(
			(name) => result.grids[name].join() === grids.join() && result.reach[name].join() === aspect.reach.join(),
		);
		const name =
			same ?? (Object.hasOwn(result.grids, aspect.name) ? `${aspect.name} ${run}`.slice(0, 64) : aspect.name);
		result.grids[name] = grids;
		result.reach[name] = aspect.reach;
		result.ofRun[run] = name;
	}
	return result;
}

/** `patch`: pixels per side of a token. */
export const withImages = (all: ReferenceGrids["grids"], patch: number): Record<string, Schedule> =>
	Object.fromEntries(
		Object.entries(all).map(([name, grids]) => {
			const [height, width] = grids[grids.length - 1];
			return [name, { grids, image: { height: height * patch, width: width * patch } }];
		}),
	);

/** Throws ModelFormatError for what is no such set, is of none of these families, or does not fit its weights. */
export async function importReferenceSet(
	manifestPath: string,
	out: string,
	{ families = all }: { families?: Families } = {},
): Promise<Manifest> {
	const set = await readReferenceSet(manifestPath);
	const { family, recorded } = kindOf(set.kind, manifestPath, families);
	const dir = dirname(resolve(manifestPath));
	for (const file of [set.weights_file, set.vae_file, set.tokenizer_file])
		if (file !== undefined && !existsSync(join(dir, file)))
			throw new MissingFileError(
				`${dir} holds no weights of its own: ${join(dir, file)} is not there. ` +
					"Give the model that it was recorded with: firstlight verify SET --model MODEL.",
			);
	const { grids, reach, ofRun } = referenceGrids(set);
	await using weights = await openCheckpoint(join(dir, set.weights_file));
	const config = family.official.config({
		config: set.config,
		vae: set.vae_config,
		shapes: shapesOf(unwrapped(weights)),
		reach,
	});
	const { codes, decoder } = family.facts(config);
	const [firstRun, run] = Object.entries(set.runs)[0];
	return await importModel({
		weights,
		vae: join(dir, set.vae_file),
		tokenizer: set.tokenizer_file === undefined ? null : join(dir, set.tokenizer_file),
		head: {
			name: nameOf(dir),
			family: family.name,
			config,
			schedules: withImages(grids, codes.patch * pixelsPerCell(decoder.config)),
			defaultSchedule: ofRun[firstRun],
			sampling: {
				guidance: recorded.ramp ? [1, 1 + (set.inference?.cfg ?? 0)] : (run.cfg ?? set.cfg ?? 3),
				...(recorded.held !== undefined && { heldScales: recorded.held }),
				tau: run.tau ?? set.tau ?? 1,
				topK: run.top_k ?? set.top_k ?? 1,
				topP: run.top_p ?? set.top_p ?? 0,
			},
			licence: `Reference set ${basename(dir)}: for checking the engine, not for pictures.`,
		},
		families,
		out,
	});
}

/** The folder's name as a model's. */
const nameOf = (dir: string): string =>
	basename(dir)
		.toLowerCase()
		.replace(/[^a-z0-9._-]+/g, "-")
		.replace(/^[^a-z0-9]+/, "")
		.slice(0, 64) || "reference";
