import { createHash } from "node:crypto";
import type { Gpu } from "../../kernels/gpu.ts";
import { tuningId } from "../../kernels/tune.ts";
import { loadTuning } from "../../kernels/tune-cache.ts";
import type { ModelFolder } from "../../model-shards/folder.ts";
import { packedLength } from "./codes.ts";
import { walk } from "./generate.ts";
import type { Family } from "./models/family.ts";
import { InfinityModel } from "./models/infinity/model.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { checkPlan } from "./plan/validate.ts";
import { Rounds } from "./rounds.ts";
import { kernelShapes } from "./shapes.ts";
import { Taps } from "./tap.ts";
import { PromptError, promptTokenizer } from "./tokenizer.ts";
import type { LoadedModel } from "./types.ts";
import { type Dtype, Weights } from "./weights.ts";

/** Raised whenever a kernel or the graph changes what it computes, down to the last bit. */
const ENGINE_VERSION = 2;

export interface OpenOptions {
	/** Pictures that can be made at once; further ones wait. Default 1. */
	slots?: number;
	/** Default f32. f16 needs an adapter with shader-f16 (else DeviceError). */
	dtype?: Dtype;
	/** Bytes of weights read so far and in all. */
	progress?: (done: number, total: number) => void;
}

/** Puts a model folder on the device. Throws ModelFormatError for a damaged folder, DeviceError when it does not fit. */
export async function openModel(gpu: Gpu, folder: ModelFolder, { slots = 1, dtype = "f32", progress }: OpenOptions = {}): Promise<LoadedModel> {
	const { manifest, info, digest } = folder;
	const weights = await Weights.load(gpu, folder, progress, dtype);
	const tokenizer = folder.tokenizer === null ? null : promptTokenizer(folder.tokenizer, info.maxPromptTokens);
	await loadTuning(gpu, kernelShapes(manifest.config, manifest.schedules[info.defaultSchedule]));
	const family = new InfinityModel(gpu, manifest.config, manifest.schedules, weights, slots);
	const rounds = new Rounds(family);
	return {
		info,
		slots,
		numerics: createHash("sha256").update(JSON.stringify([ENGINE_VERSION, tuningId(), dtype, digest, gpu.facts.name, gpu.facts.driver])).digest("hex").slice(0, 32),
		async compile(plans) {
			await gpu.compile(() => plans.forEach((plan) => rehearse(gpu, family, plan)));
		},
		generate({ plan, prompt, seed, draws = new Map(), tap, ...rest }) {
			checkPlan(plan, info);
			const { grids } = manifest.schedules[plan.schedule];
			const ids = draws.get("text.ids") ?? (draws.has("text.feats") ? [] : tokenizer?.encode(prompt));
			if (!ids || (!manifest.config.textEncoder && !draws.has("text.feats"))) throw new PromptError("This model has no text encoder: give its text features in `draws` as text.feats.");
			checkCodes(rest.forcedCodes, grids, info.bitsPerToken);
			const taps = new Taps(gpu, tap);
			taps.give("text.ids", [ids.length], () => Int32Array.from(ids));
			return walk(family, rounds, { plan, grids, seed, ids: [...ids], draws, taps, ...rest });
		},
		destroy() {
			family.destroy();
			weights.destroy();
		},
	};
}

/** Records every round of a picture with all of its previews. */
function rehearse<Job>(gpu: Gpu, family: Family<Job>, plan: StagePlan): void {
	const job = family.open({ plan, seed: 0, ids: [0], draws: new Map(), taps: new Taps(gpu, undefined) });
	const last = plan.steps.length - 1;
	for (const [scale, { kind }] of plan.steps.entries()) if (kind === "run") family.round([{ job, scale, sample: true, pictures: scale === last ? [scale] : [scale, last] }]);
	family.close(job);
}

/** Throws RangeError for codes of another model or scale, before they can spoil a round that others share. */
function checkCodes(codes: readonly Uint8Array[] | undefined, grids: readonly (readonly [number, number])[], bits: number): void {
	for (const [scale, { length }] of (codes ?? []).entries()) {
		const expected = packedLength(grids[scale][0] * grids[scale][1], bits);
		if (length !== expected) throw new RangeError(`The codes of scale ${scale} take ${expected} bytes, got ${length}. They belong to another model or schedule.`);
	}
}
