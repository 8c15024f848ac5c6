import { loadTuning } from "../../kernels/choices.ts";
import { OutOfMemoryError } from "../../kernels/gpu/errors.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import { PRECISIONS, type Precision } from "../../model-shards/format/precision.ts";
import type { ModelFolder } from "../families/folder.ts";
import { ROOMY } from "../families/shared/decoder-size.ts";
import { longestSchedule } from "../families/shared/schedules.ts";
import { type Dtype, Weights } from "../families/shared/weights.ts";
import { partOf, residentPrompts, visitingEncoder } from "../families/text/device-encoder.ts";
import { PromptFeatures } from "../families/text/prompt-features.ts";
import { isText } from "../families/text/tensors.ts";
import { largestId, type PromptTokenizer, promptTokenizer } from "../families/text/tokenizer.ts";
import { DeviceModel } from "./device-model.ts";
import { numericsId } from "./numerics.ts";
import { memoryAdvice, slotsWithin, type Within, within, withinText } from "./paper/budget.ts";
import { type MemoryNeed, type MemorySetting, memoryNeed } from "./paper/memory.ts";
import { NextScaleModel } from "./round/next-scale.ts";
import { kernelShapes } from "./shapes.ts";
import { type Subject, subjectIds } from "./subject.ts";
import type { LoadedModel } from "./types.ts";

export interface OpenOptions {
	/**
	 * Pictures that can be made at once, or as many of them, of the default schedule, as one buffer has room for; further
	 * ones wait. Default 1.
	 */
	slots?: number;
	/** Default f32. f16 needs an adapter with shader-f16 (else DeviceError). */
	dtype?: Dtype;
	/**
	 * The same for cached keys and values, which may be int8 or int4 besides where the model's width is a multiple of 64:
	 * packed, and unpacked before they are read. Such pictures are others than those of f32, if alike, and have a
	 * numerics id of their own.
	 */
	cacheDtype?: Precision;
	/**
	 * Bytes on the device that the model and its pictures of any schedule may take: to keep within them the decoder
	 * stores less, as f16, and computes more, the text encoder is there for new texts alone, and keys and values are kept
	 * in as many bits as there is room for. Where they do not do, an OutOfMemoryError says what would. Reckoned for exact
	 * plans and prompts of 32 tokens: not counted are further keys of longer prompts, activations of plans that need more
	 * than they save in keys, given draws, what is read back, and 8 MiB that the device has once.
	 */
	memory?: number;
	/** Bytes of weights read so far and in all. */
	progress?: (done: number, total: number) => void;
}

/** How a model would be opened within a budget, and what that takes. Throws OutOfMemoryError where nothing would do. */
function planned(
	gpu: Gpu,
	folder: ModelFolder,
	{ slots: asked = 1, dtype = "f32", cacheDtype = "f32", memory }: OpenOptions,
): { slots: number; setting: MemorySetting; within: Partial<Within>; need: MemoryNeed } {
	const { bindingBytes, bufferBytes } = gpu;
	const textTokens = folder.info.maxPromptTokens;
	const slots = slotsWithin(folder, { cacheDtype, slots: asked, textTokens }, bufferBytes);
	const setting: MemorySetting = { dtype, cacheDtype, slots, bindingBytes };
	if (memory === undefined) return { slots, setting, within: {}, need: memoryNeed(folder, setting) };
	// Whoever asks for a picture chooses its schedule.
	const most: MemorySetting = { ...setting, schedule: longestSchedule(folder.manifest.schedules) };
	const kept = within(folder, most, memory, precisionsOn(gpu));
	if (!kept)
		throw new OutOfMemoryError(`The ${memory} bytes that are given do not do. ${adviceFor(gpu, folder, most)}`);
	return { slots, setting: most, ...kept };
}

const precisionsOn = ({ device }: Gpu): readonly Precision[] =>
	device.features.has("shader-f16") ? PRECISIONS : PRECISIONS.filter((kind) => kind !== "f16");

/** As where every binding is large enough: what is too small for a tensor has been said. */
const adviceFor = (gpu: Gpu, folder: ModelFolder, setting: MemorySetting): string =>
	memoryAdvice(folder, { ...setting, bindingBytes: undefined }, precisionsOn(gpu));

/**
 * What a model opened so is reckoned to take on the device with its pictures, how many it makes at once, and, where
 * `memory` is given, what it does to keep within that, in words; and whether its text encoder comes and goes for that.
 * Throws OutOfMemoryError where nothing would do.
 */
export function reckoned(
	gpu: Gpu,
	folder: ModelFolder,
	options: OpenOptions = {},
): { slots: number; bytes: number; visits: boolean; kept?: string } {
	const { slots, within, need } = planned(gpu, folder, options);
	return {
		slots,
		bytes: need.total,
		visits: within.encoder === "visits",
		...(within.stored !== undefined && { kept: withinText(folder, within as Within, need) }),
	};
}

/** Throws ModelFormatError where it has ids that the text encoder's table of words does not reach. */
function tokenizerOf({ dir, tokenizer, facts, info }: ModelFolder): PromptTokenizer | null {
	if (tokenizer === null) return null;
	const made = promptTokenizer(tokenizer, info.maxPromptTokens);
	const vocabulary = facts.text?.encoder?.vocabulary ?? Infinity;
	const largest = largestId(tokenizer);
	if (largest >= vocabulary)
		throw new ModelFormatError(
			`The tokenizer of ${dir} has ids up to ${largest}; its text encoder knows those below ${vocabulary}. ` +
				"Import the model again with the tokenizer that belongs to it.",
		);
	return made;
}

/** Throws PromptError for the first of the subjects that a model does not draw: before it is loaded. */
export function requireDrawn(folder: ModelFolder, subjects: readonly Subject[]): void {
	const tokenizer = tokenizerOf(folder);
	for (const subject of subjects) subjectIds(folder.facts, folder.info, tokenizer, subject, new Map());
}

/**
 * Puts a model folder on the device. Throws ModelFormatError for a damaged folder, DeviceError when it does not fit: an
 * OutOfMemoryError says what would. Nothing is left on the device then. One model is loaded at a time, and pictures of
 * others are opened before or after it; those that are open go on.
 */
export async function openModel(gpu: Gpu, folder: ModelFolder, options: OpenOptions = {}): Promise<LoadedModel> {
	const { dtype = "f32", progress } = options;
	const { config, facts, digest } = folder;
	const { schedules } = folder.manifest;
	const { slots, setting, within, need } = planned(gpu, folder, options);
	const { cacheDtype = options.cacheDtype ?? "f32", encoder: stay = "stays", stored } = within;
	const tokenizer = tokenizerOf(folder);
	const textEncoder = facts.text?.encoder;
	const visiting = stay === "visits" && textEncoder;
	const explained = (error: unknown): unknown =>
		error instanceof OutOfMemoryError
			? new OutOfMemoryError(`${error.message} ${adviceFor(gpu, folder, setting)}`)
			: error;
	const load = async (tried: () => void): Promise<LoadedModel> => {
		using made = new DisposableStack();
		const fits = await gpu.room(need.weights + need.decoder + (visiting ? 0 : need.encoder));
		tried();
		if (!fits) throw new OutOfMemoryError(`There is not enough memory on ${gpu.facts.name}.`);
		const source = visiting ? partOf(folder, (name) => !isText(name)) : folder;
		const weights = made.adopt(await Weights.load(gpu, source, progress, dtype), (weights) => weights.destroy());
		const shapes = kernelShapes(folder, dtype);
		await loadTuning(gpu, shapes);
		const instructions = facts.text?.instructions && tokenizer ? tokenizer.ids(facts.text.instructions) : [];
		const scope = made.use(new Scope(gpu));
		const prompts = visiting
			? new PromptFeatures(scope, gpu, visitingEncoder(gpu, folder, visiting, { dtype, bytes: need.encoder }))
			: residentPrompts(scope, gpu, textEncoder, weights);
		const graph = folder.family.graph({ gpu, config, facts, schedules, weights, slots, prompts, instructions });
		const own = { prompts, stored, slowly: options.memory !== undefined };
		const model = made.use(new NextScaleModel(gpu, graph, schedules, weights, slots, cacheDtype, own));
		const numerics = await numericsId(gpu, {
			digest,
			shapes,
			dtype,
			cacheDtype,
			tiles: need.exact ? undefined : { bindingBytes: gpu.bindingBytes, ...(stored ?? ROOMY) },
		});
		const visited = Boolean(visiting);
		return new DeviceModel({ gpu, folder, tokenizer, model, numerics, visited, explained, owned: made.move() });
	};
	try {
		return await gpu.memoryTurns.take(load);
	} catch (error) {
		throw explained(error);
	}
}
