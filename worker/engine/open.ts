import { createHash } from "node:crypto";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { OutOfMemoryError } from "../../kernels/gpu/native/device.ts";
import { loadTuning } from "../../kernels/gpu/native/tune-cache.ts";
import { tuningId } from "../../kernels/tune.ts";
import type { ModelFolder } from "../../model-shards/format/folder.ts";
import type { Manifest } from "../../model-shards/format/manifest.ts";
import { graphOf } from "../families/index.ts";
import { type Dtype, Weights } from "../families/shared/weights.ts";
import { PromptError, promptTokenizer } from "../families/text/tokenizer.ts";
import { checkPlan } from "../policies/validate.ts";
import { outcomesOf, type StagePlan, scalesLookedAt } from "../protocol/plan.ts";
import { growBranches } from "./branches.ts";
import { packedLength } from "./codes.ts";
import { walk } from "./generate.ts";
import { type MemorySetting, memoryAdvice, memoryNeed, slotsWithin } from "./paper/memory.ts";
import type { Draws, Family } from "./round/model.ts";
import { NextScaleModel } from "./round/next-scale.ts";
import { Rounds } from "./rounds.ts";
import { kernelShapes } from "./shapes.ts";
import { Taps } from "./tap.ts";
import type { LoadedModel } from "./types.ts";

/** Raised whenever a kernel or the graph changes what it computes, down to the last bit. */
export const ENGINE_VERSION = 2;

export interface OpenOptions {
	/** Pictures that can be made at once, or as many of them as one binding holds; further ones wait. Default 1. */
	slots?: number;
	/** Default f32. f16 needs an adapter with shader-f16 (else DeviceError). */
	dtype?: Dtype;
	/** The same for cached keys and values. */
	cacheDtype?: Dtype;
	/** Bytes of weights read so far and in all. */
	progress?: (done: number, total: number) => void;
}

/**
 * Puts a model folder on the device. Throws ModelFormatError for a damaged folder, DeviceError when it does not fit: an
 * OutOfMemoryError says what would.
 */
export async function openModel(
	gpu: Gpu,
	folder: ModelFolder,
	{ slots: asked = 1, dtype = "f32", cacheDtype = "f32", progress }: OpenOptions = {},
): Promise<LoadedModel> {
	const { manifest, info, digest } = folder;
	const slots = slotsWithin(manifest, { cacheDtype, slots: asked, textTokens: info.maxPromptTokens }, gpu.bindingBytes);
	const setting: MemorySetting = { dtype, cacheDtype, slots };
	const explained = (error: unknown): unknown =>
		error instanceof OutOfMemoryError
			? new OutOfMemoryError(`${error.message} ${memoryAdvice(manifest, setting)}`)
			: error;
	const need = memoryNeed(manifest, setting);
	if (!(await gpu.room(need.weights + need.decoder)))
		throw explained(new OutOfMemoryError(`There is not enough memory on ${gpu.facts.name}.`));
	const weights = await Weights.load(gpu, folder, progress, dtype).catch((error) => {
		throw explained(error);
	});
	const tokenizer = folder.tokenizer === null ? null : promptTokenizer(folder.tokenizer, info.maxPromptTokens);
	const shapes = kernelShapes(manifest, dtype);
	await loadTuning(gpu, shapes);
	const instructions =
		"instructions" in manifest.config && tokenizer ? tokenizer.ids(manifest.config.instructions) : [];
	let family: NextScaleModel;
	try {
		family = new NextScaleModel(
			gpu,
			graphOf(gpu, manifest, weights, slots, instructions),
			manifest.schedules,
			weights,
			slots,
			cacheDtype,
		);
	} catch (error) {
		weights.destroy();
		throw explained(error);
	}
	const rounds = new Rounds(family);
	/**
	 * Token ids of what is to be drawn, or the class alone. Throws PromptError when this model does not draw such a
	 * thing.
	 */
	const subject = ({ prompt, label }: { prompt?: string; label?: number }, draws: Draws): number[] => {
		if (info.classes === undefined && label !== undefined)
			throw new PromptError("This model draws text: give a prompt in place of a class.");
		if (info.classes !== undefined) {
			if (label === undefined || !Number.isInteger(label) || label < 0 || label >= info.classes)
				throw new PromptError(`This model draws classes: give one from 0 to ${info.classes - 1} in place of a prompt.`);
			return [label];
		}
		if (!hasTextEncoder(manifest) && !draws.has("text.feats"))
			throw new PromptError("This model has no text encoder: give its text features in `draws` as text.feats.");
		const ids = draws.get("text.ids");
		if (ids || draws.has("text.feats")) return [...(ids ?? [])];
		if (prompt === undefined || !tokenizer) throw new PromptError("This model draws text: give a prompt.");
		return tokenizer.encode(prompt);
	};
	return {
		info,
		slots,
		numerics: createHash("sha256")
			.update(
				JSON.stringify([
					ENGINE_VERSION,
					tuningId(gpu, shapes),
					dtype,
					cacheDtype,
					digest,
					gpu.facts.name,
					gpu.facts.driver,
				]),
			)
			.digest("hex")
			.slice(0, 32),
		async compile(plans) {
			await gpu.compile(() => plans.forEach((plan) => rehearse(gpu, family, plan)));
		},
		generate({ plan, prompt, label, seed, draws = new Map(), tap, ...rest }) {
			checkPlan(plan, info);
			const { grids } = manifest.schedules[plan.schedule];
			const ids = subject({ prompt, label }, draws);
			checkCodes(rest.forcedCodes, grids, info.bitsPerToken);
			const taps = new Taps(gpu, tap);
			taps.give("text.ids", [ids.length], () => Int32Array.from(ids));
			return failing(walk(family, rounds, { plan, grids, seed, ids, draws, taps, ...rest }), explained);
		},
		async branches({ plans, prompt, label, seed, draws = new Map(), signal = new AbortController().signal }) {
			for (const plan of plans) checkPlan(plan, info);
			const [{ schedule, decide }] = plans;
			if (decide)
				throw new RangeError("The first of the plans, which others branch off, must not have anything to decide.");
			if (plans.some((plan) => plan.schedule !== schedule))
				throw new RangeError(
					`Branches are of one schedule, not of ${[...new Set(plans.map(({ schedule }) => schedule))].join(" and ")}.`,
				);
			const ids = subject({ prompt, label }, draws);
			return await growBranches(
				family,
				rounds,
				plans,
				manifest.schedules[schedule].grids,
				{ seed, ids, draws, taps: new Taps(gpu, undefined) },
				signal,
			);
		},
		async decode(latent, grid, tap) {
			const taps = new Taps(gpu, tap);
			try {
				const image = await family.decode(latent, grid, taps);
				await taps.flush();
				return image;
			} finally {
				taps.destroy();
			}
		},
		destroy() {
			family.destroy();
			weights.destroy();
		},
	};
}

/** The same results; what they throw as `of` says. */
async function* failing<T>(
	results: AsyncGenerator<T, void, undefined>,
	of: (error: unknown) => unknown,
): AsyncGenerator<T, void, undefined> {
	try {
		yield* results;
	} catch (error) {
		throw of(error);
	}
}

const hasTextEncoder = ({ config }: Manifest) => "textEncoder" in config && config.textEncoder !== null;

/** Records every round of a picture with all of its previews. */
function rehearse<Job>(gpu: Gpu, family: Family<Job>, plan: StagePlan): void {
	for (const outcome of outcomesOf(plan)) rehearseSettled(gpu, family, outcome);
}

function rehearseSettled<Job>(gpu: Gpu, family: Family<Job>, plan: StagePlan): void {
	const job = family.open({ plan, seed: 0, ids: [0], draws: new Map(), taps: new Taps(gpu, undefined) });
	const last = plan.steps.length - 1;
	const looked = scalesLookedAt(plan);
	for (const [scale, { kind }] of plan.steps.entries()) {
		if (kind === "run")
			family.round([{ job, scale, sample: true, pictures: scale === last ? [scale] : [scale, last] }]);
		if (looked.has(scale)) void family.look(job, scale, { width: 1, height: 1, data: new Uint8Array(3) });
	}
	family.close(job);
}

/** Throws RangeError for codes of another model or scale, before they can spoil a round that others share. */
function checkCodes(
	codes: readonly Uint8Array[] | undefined,
	grids: readonly (readonly [number, number])[],
	bits: number,
): void {
	for (const [scale, { length }] of (codes ?? []).entries()) {
		const expected = packedLength(grids[scale][0] * grids[scale][1], bits);
		if (length !== expected)
			throw new RangeError(
				`The codes of scale ${scale} take ${expected} bytes, got ${length}. They belong to another model or schedule.`,
			);
	}
}
