/** Imports a reference set (format 1) so that the production path can be checked against it. */
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { hartConfigFromReference } from "../../worker/families/hart/official.ts";
import type { InfinityConfig } from "../../worker/families/infinity/config.ts";
import { infinityConfigFromReference } from "../../worker/families/infinity/official.ts";
import { type Aspect, aspectOf, aspectOfGrid } from "../../worker/families/shared/aspect.ts";
import { starConfigFromReference } from "../../worker/families/star/official.ts";
import { varConfigFromReference } from "../../worker/families/var/official.ts";
import type { Schedule } from "../../worker/protocol/model-info.ts";
import { type FamilyConfig, type Manifest, ModelFormatError, patchify } from "../format/manifest.ts";
import { readJson, shapesOf } from "./directory.ts";
import { openSafetensors } from "./formats/safetensors.ts";
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

export const ReferenceSet = z.looseObject({
	format: z.literal(1),
	kind: z.enum(["infinity", "stagevar-infinity", "fastvar-infinity", "var", "star", "stagevar-star", "hart"]),
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

export async function readReferenceSet(manifestPath: string): Promise<ReferenceSet> {
	const parsed = ReferenceSet.safeParse(await readJson(manifestPath));
	if (!parsed.success)
		throw new ModelFormatError(
			`${manifestPath} is not a reference set this version reads:\n${z.prettifyError(parsed.error)}`,
		);
	if (Object.keys(parsed.data.runs).length === 0) throw new ModelFormatError(`${manifestPath} has no runs.`);
	return parsed.data;
}

export interface ReferenceSchedules {
	schedules: Record<string, Schedule>;
	ropeReach: InfinityConfig["ropeReach"];
	/** Schedule name of every run. */
	ofRun: Record<string, string>;
}

/**
 * Schedules by aspect (`1:1`, `2:1`); a further schedule of the same aspect gets its run's name behind it. `patch`:
 * pixels per token.
 */
export function referenceSchedules(set: ReferenceSet, patch: number): ReferenceSchedules {
	const result: ReferenceSchedules = { schedules: {}, ropeReach: {}, ofRun: {} };
	for (const [run, settings] of Object.entries(set.runs)) {
		const scales = settings.scale_schedule ?? set.scale_schedule;
		if (!scales) throw new ModelFormatError(`Run ${run} has no scale_schedule, and neither has its manifest.`);
		const grids = scales.map(([, height, width]): [number, number] => [height, width]);
		const [height, width] = grids[grids.length - 1];
		const template = settings.h_div_w_template ?? set.h_div_w_template;
		const aspect: Aspect = template === undefined ? aspectOfGrid([height, width]) : aspectOf(template);
		const same = Object.keys(result.schedules).find(
			(name) =>
				result.schedules[name].grids.join() === grids.join() && result.ropeReach[name].join() === aspect.reach.join(),
		);
		const name =
			same ?? (Object.hasOwn(result.schedules, aspect.name) ? `${aspect.name} ${run}`.slice(0, 64) : aspect.name);
		result.schedules[name] = { grids, image: { height: height * patch, width: width * patch } };
		result.ropeReach[name] = aspect.reach;
		result.ofRun[run] = name;
	}
	return result;
}

const infinity = (set: ReferenceSet, shapes: ReadonlyMap<string, readonly number[]>): FamilyConfig => ({
	family: "infinity",
	config: infinityConfigFromReference(set.config, set.vae_config, shapes),
});

const star = (set: ReferenceSet): FamilyConfig => ({
	family: "star",
	config: starConfigFromReference(set.config, set.vae_config),
});

const FAMILIES: Record<
	ReferenceSet["kind"],
	(set: ReferenceSet, shapes: ReadonlyMap<string, readonly number[]>) => FamilyConfig
> = {
	infinity,
	"stagevar-infinity": infinity,
	"fastvar-infinity": infinity,
	star,
	"stagevar-star": star,
	hart: (set) => ({ family: "hart", config: hartConfigFromReference(set.config, set.vae_config) }),
	var: (set) => ({ family: "var", config: varConfigFromReference(set.config, set.vae_config) }),
};

export async function importReferenceSet(manifestPath: string, out: string): Promise<Manifest> {
	const set = await readReferenceSet(manifestPath);
	const dir = dirname(resolve(manifestPath));
	await using weights = await openSafetensors(join(dir, set.weights_file));
	const shapes = shapesOf(weights);
	const model = FAMILIES[set.kind](set, shapes);
	const { schedules, ropeReach, ofRun } = referenceSchedules(
		set,
		patchify(model.config) * 2 ** (model.config.vae.multipliers.length - 1),
	);
	if (model.family === "infinity") model.config.ropeReach = ropeReach;
	const [firstRun, run] = Object.entries(set.runs)[0];
	return await importModel({
		weights,
		vae: join(dir, set.vae_file),
		tokenizer: set.tokenizer_file === undefined ? null : join(dir, set.tokenizer_file),
		model,
		name:
			basename(dir)
				.toLowerCase()
				.replace(/[^a-z0-9._-]+/g, "-")
				.replace(/^[^a-z0-9]+/, "")
				.slice(0, 64) || "reference",
		schedules,
		defaultSchedule: ofRun[firstRun],
		sampling: {
			guidance: model.family === "infinity" ? (run.cfg ?? set.cfg ?? 3) : [1, 1 + (set.inference?.cfg ?? 0)],
			...(model.family === "hart" && { heldScales: 1 }),
			tau: run.tau ?? set.tau ?? 1,
			topK: run.top_k ?? set.top_k ?? 1,
			topP: run.top_p ?? set.top_p ?? 0,
		},
		licence: `Reference set ${basename(dir)}: for checking the engine, not for pictures.`,
		out,
	});
}
