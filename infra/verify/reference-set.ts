/** Reads a folder of the reference format (format 1) and turns each of its runs into what the engine takes. */
import { join } from "node:path";
import { z } from "zod";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import { formed } from "../../model-shards/format/json.ts";
import { readJson } from "../../model-shards/format/source/files.ts";
import { openSafetensors, type Safetensors } from "../../model-shards/import/formats/safetensors.ts";
import { kindOf } from "../../model-shards/import/reference.ts";
import type { Families, TapNames } from "../../worker/families/family.ts";
import { channelsLast } from "../../worker/families/shared/taps.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import type { Projection, Reduction, StagePlan, Step } from "../../worker/protocol/plan.ts";

const PlainPath = z.string().min(1).max(512);
const Recorded = z.looseObject({
	dtype: z.enum(["F32", "I32"]),
	shape: z.array(z.int().min(0)).max(8),
	role: z.enum(["input", "output"]),
	exact: z.boolean().default(false),
	abs: z.number().min(0).default(0),
	rel: z.number().min(0).default(0),
	mean: z.number().min(0).optional(),
});
export type Recorded = z.infer<typeof Recorded>;

const settings = {
	cfg: z.number().optional(),
	cfg_list: z.array(z.number()).optional(),
	tau: z.number().optional(),
	top_k: z.int().optional(),
	top_p: z.number().optional(),
	scale_schedule: z
		.array(z.tuple([z.int(), z.int().min(1), z.int().min(1)]))
		.min(1)
		.max(64)
		.optional(),
	ranks: z.record(z.string(), z.array(z.int().min(1))).optional(),
	executed_scales: z.array(z.int().min(0)).optional(),
	/**
	 * FastVAR: share of the tokens dropped by width of the scale, in which blocks, and the scale whose sublayers are
	 * kept.
	 */
	prune_ratio_by_width: z.record(z.string(), z.number().min(0).max(1)).optional(),
	pruned_layers: z.array(z.int().min(0)).optional(),
	cached_size: z.tuple([z.int().min(1), z.int().min(1)]).optional(),
	inference: z.looseObject({ cfg: z.number().optional() }).optional(),
};
const Settings = z.object(settings);
type Settings = z.infer<typeof Settings>;
const Run = z.looseObject({
	...settings,
	file: PlainPath,
	prompt: z.string().max(2000).optional(),
	inputs: z.record(z.string(), z.looseObject({ file: PlainPath, tensor: z.string() })),
	recorded: z.record(z.string(), Recorded),
});
const Manifest = z.looseObject({
	...settings,
	format: z.literal(1),
	kind: z.string(),
	runs: z.record(z.string(), Run),
});

export interface ReferenceRun {
	name: string;
	prompt: string;
	/** Classes of its pictures, all made at once; null where it draws one text. */
	labels: number[] | null;
	schedule: [height: number, width: number][];
	/** Null for the scales the run left out. */
	scales: ({
		guidance: number;
		tau: number;
		topK: number;
		topP: number;
		reduce(info: ModelInfo): Reduction[];
	} | null)[];
	draws: Map<string, Float32Array | Int32Array>;
	/** Of everything recorded. */
	shapes: ReadonlyMap<string, readonly number[]>;
	expected: Map<string, Recorded & { data: Float32Array | Int32Array }>;
}

/** Throws ModelFormatError when the folder is not of the format, or of no kind that these families have. */
export async function readReferenceSet(
	dir: string,
	{ families }: { families?: Families } = {},
): Promise<ReferenceRun[]> {
	const path = join(dir, "manifest.json");
	const set = formed(Manifest, await readJson(path), `${path} is not of the reference format 1`);
	const { recorded: kind } = kindOf(set.kind, path, families);
	await using files = new TensorFiles(dir);
	const runs: ReferenceRun[] = [];
	for (const [name, own] of Object.entries(set.runs)) {
		const run = { ...set, ...own };
		if (!run.scale_schedule) throw new ModelFormatError(`${path}: run ${name} has no scale_schedule.`);
		const executed = new Set(run.executed_scales ?? run.scale_schedule.map((_, scale) => scale));
		const draws: ReferenceRun["draws"] = new Map();
		for (const [input, { file, tensor }] of Object.entries(run.inputs))
			draws.set(kind.inputs?.[input] ?? input, await files.read(file, tensor));
		const expected: ReferenceRun["expected"] = new Map();
		for (const [tensor, recorded] of Object.entries(run.recorded)) {
			if (recorded.role === "output") expected.set(tensor, { ...recorded, data: await files.read(run.file, tensor) });
		}
		const labels = draws.get("labels");
		const last = Math.max(1, run.scale_schedule.length - 1);
		const guidanceOf = (scale: number) => {
			const cfg = run.cfg_list?.[scale] ?? run.cfg ?? run.inference?.cfg;
			return kind.ramp && cfg ? 1 + (cfg * Math.min(scale, last - (kind.held ?? 0))) / last : (cfg ?? 1);
		};
		runs.push({
			name,
			prompt: run.prompt ?? "",
			labels: labels ? [...labels] : null,
			schedule: run.scale_schedule.map(([, h, w]) => [h, w]),
			scales: run.scale_schedule.map((_, scale) =>
				executed.has(scale)
					? {
							guidance: guidanceOf(scale),
							tau: run.tau ?? 1,
							topK: run.top_k ?? 1,
							topP: run.top_p ?? 0,
							reduce: (info) => [...lowRank(run, scale, kind.rope, info), ...pruned(run, scale)],
						}
					: null,
			),
			draws,
			shapes: new Map(Object.entries(run.recorded).map(([name, { shape }]) => [name, shape])),
			expected,
		});
	}
	return runs;
}

/** StageVAR: a rank for each block chunk. */
function lowRank({ ranks }: Settings, scale: number, rope: Projection["rope"], info: ModelInfo): Reduction[] {
	return (ranks?.[scale] ?? []).map((count, chunk) => ({
		blocks: [...info.chunks[chunk]],
		each: "span",
		count,
		take: { project: "gaussian" },
		rope,
		write: "norm-sampled",
		rest: { from: scale - 1, resize: "area", of: "output" },
	}));
}

/** FastVAR: around every sublayer of some blocks, tokens far from the mean one. */
function pruned(
	{ scale_schedule = [], prune_ratio_by_width = {}, pruned_layers = [], cached_size }: Settings,
	scale: number,
): Reduction[] {
	const [, height, width] = scale_schedule[scale];
	const from = scale_schedule.findIndex(([, h, w]) => h === cached_size?.[0] && w === cached_size[1]);
	if (!Object.hasOwn(prune_ratio_by_width, width) || pruned_layers.length === 0 || from === -1) return [];
	const count = height * width - Math.floor(height * width * prune_ratio_by_width[width]);
	const blocks: [number, number] = [Math.min(...pruned_layers), Math.max(...pruned_layers) + 1];
	return [
		{
			blocks,
			each: "sublayer",
			count,
			take: { gather: "mean-distance" },
			rope: "kept",
			write: "kept",
			rest: { from, resize: "area", of: "change" },
		},
	];
}

/** The recorded run as a plan: guidance 0 is StageVAR's text-free step. */
export function referencePlan(run: ReferenceRun, info: ModelInfo): StagePlan {
	const schedule = Object.entries(info.schedules).find(
		([, { grids }]) => JSON.stringify(grids) === JSON.stringify(run.schedule),
	);
	if (!schedule) throw new ModelFormatError(`Run ${run.name} has a scale schedule that the imported model lacks.`);
	const steps = run.scales.map((scale): Step => {
		if (!scale) return { kind: "skip" };
		const { guidance, tau, topK, topP } = scale;
		const free = guidance === 0;
		const reduce = scale.reduce(info);
		return {
			kind: "run",
			stage: free || reduce.length > 0 ? "fidelity" : "semantic",
			rows: free ? "uncond" : "both",
			guidance,
			tau,
			topK,
			topP,
			reduce,
		};
	});
	return { version: 1, policy: `reference ${run.name}`.slice(0, 64), model: info.digest, schedule: schedule[0], steps };
}

/** A latent for the decoder alone, [height * width, channels], and the prefix of what is recorded of it. */
export interface DecoderLatent {
	prefix: string;
	data: Float32Array<ArrayBuffer>;
	grid: [height: number, width: number];
}

const DECODER = "dec.";

/**
 * Those that a run was recorded with: `dec.WHICH.NAME`, by the family's name of a latent. Throws ModelFormatError for
 * another name, and for what is not one latent.
 */
export function decoderLatents({ draws, shapes }: ReferenceRun, { latent }: TapNames): DecoderLatent[] {
	return [...draws].flatMap(([input, data]) => {
		if (!input.startsWith(DECODER)) return [];
		if (!input.endsWith(`.${latent}`))
			throw new ModelFormatError(`${input} is no latent of this model, which calls them ${latent}.`);
		const [one, channels, height, width] = shapes.get(input) ?? [];
		if (one !== 1 || data.length !== channels * height * width)
			throw new ModelFormatError(`${input} is not one latent of [1, channels, height, width].`);
		const prefix = input.slice(0, -latent.length);
		return [{ prefix, grid: [height, width], data: channelsLast(data, height * width) }];
	});
}

class TensorFiles implements AsyncDisposable {
	#dir: string;
	#open = new Map<string, Safetensors>();

	constructor(dir: string) {
		this.#dir = dir;
	}

	async read(file: string, tensor: string): Promise<Float32Array | Int32Array> {
		const source = this.#open.get(file) ?? (await openSafetensors(join(this.#dir, file)));
		this.#open.set(file, source);
		const { dtype } = source.tensors.get(tensor) ?? { dtype: "" };
		const { buffer } = await source.read(tensor);
		if (dtype === "F32") return new Float32Array(buffer);
		if (dtype === "I32") return new Int32Array(buffer);
		throw new ModelFormatError(`${file}: ${tensor} is ${dtype}; recordings are F32 or I32.`);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		for (const source of this.#open.values()) await source[Symbol.asyncDispose]();
	}
}
