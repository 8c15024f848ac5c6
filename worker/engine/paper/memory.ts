/** What a model and its pictures take on a device, from its manifest alone. */
import { residentBytes } from "../../../model-shards/format/layout.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import { plannedTensors } from "../../../model-shards/format/stored.ts";
import { type Model, modelInfo } from "../../families/model.ts";
import { type DecoderSize, type DecoderStore, decoderSize } from "../../families/shared/decoder-size.ts";
import { latentCells, latentGrids, type Schedules } from "../../families/shared/schedules.ts";
import type { EncoderStay } from "../../families/text/device-encoder.ts";
import { isText } from "../../families/text/tensors.ts";
import { textWorkFloats } from "../../families/text/transformer.ts";
import { exact } from "../../policies/exact.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { inBanks, keyRow, unpackedBytes } from "../round/key-value-store.ts";
import { COND, rowsOf, storedKeys, UNCOND } from "../round/kv-plan.ts";
import { largestRound } from "../round/picture.ts";
import { plannedBytes } from "../round/room.ts";
import { sourceKey, sourcesIn } from "../round/spans.ts";
import { mostTokens, roundNeed, workspaceTensors } from "../round/workspace.ts";
import { keyBytes } from "./flops.ts";

export interface MemorySetting {
	/** Of the weights; left out: as they are stored, floats kept as `dtype`. */
	precision?: Precision;
	dtype?: "f32" | "f16";
	/** Of cached keys and values. */
	cacheDtype?: Precision;
	/** Pictures at once, by these schedules' longest. */
	slots?: number;
	schedule?: string;
	/** Of a prompt. */
	textTokens?: number;
	/** That all pictures are made by; left out: the exact one of the schedule, which takes most. */
	plan?: StagePlan;
	/** What the decoder stores between layers; left out: as much as is worth it. */
	stored?: DecoderStore;
	/** Whether the text encoder is there all the time, as by default, or before a picture alone. */
	encoder?: EncoderStay;
	/** The most that a binding of the device holds; left out: that of most GPUs. */
	bindingBytes?: number;
}

/** Bytes. */
export interface MemoryNeed {
	/** Of all but the text encoder. */
	weights: number;
	/** The text encoder's weights, and what it works in. */
	encoder: number;
	/** Of the decoder, for one picture of the model's largest schedule, and of tables and latents. */
	decoder: number;
	/** Of all slots: cached keys and values, with what packed ones are read from; activations of the largest round. */
	keys: number;
	activations: number;
	/**
	 * While a text is encoded, while the pictures of all slots are made, and while the last of several is opened beside
	 * the others, whose activations then are there twice and whose keys grow block by block. A text encoder that stays is
	 * there all the time.
	 */
	phases: { text: number; picture: number; opening: number };
	/** The most of these. */
	total: number;
	/** Pictures have the bits of those that are decoded whole, whatever is stored. */
	exact: boolean;
	/** Floating-point operations of decoding the picture that takes most. */
	decoding: number;
	/**
	 * The largest tensor that one binding must hold: matrices, convolutions and tables of words are cut where it does
	 * not, activations and keys are bound by windows. And the largest of these that grows with the slots, which one
	 * buffer must hold.
	 */
	largest: { name: string; bytes: number };
	shared: number;
}

const TEXT_TOKENS = 32;
const BINDING_BYTES = 2 ** 31 - 4;

/** Of the decoder alone. */
export const decoderNeed = (
	{ manifest: { schedules }, facts: { decoder, codes } }: Model,
	{ bindingBytes = BINDING_BYTES, stored }: MemorySetting,
): DecoderSize => decoderSize(decoder, codes.channels, latentGrids(schedules, codes.patch), bindingBytes, stored);

/**
 * For pictures by the exact plan, the largest there is. Within a few percent of what the engine allocates. `pictures`:
 * the decoder, which takes longest to be counted.
 */
export function memoryNeed(
	model: Model,
	setting: MemorySetting = {},
	pictures = decoderNeed(model, setting),
): MemoryNeed {
	const { precision, dtype = "f32", cacheDtype = "f32", slots = 1, schedule } = setting;
	const { textTokens = TEXT_TOKENS, bindingBytes = BINDING_BYTES, encoder: stay = "stays" } = setting;
	const { manifest, wanted, facts, costs } = model;
	const { schedules } = manifest;
	const { shape, codes, startTokens } = facts;
	const { depth } = shape;
	const plan = setting.plan ?? exact.plan(modelInfo(model, ""), { schedule });
	const grids = schedules[plan.schedule].grids;

	const latent = latentCells(schedules) * codes.patch ** 2;
	const { floats } = costs;
	const positions = (floats.position ?? 0) * positionsOf(schedules);
	const held = floats.once + slots * (floats.slot + latent * floats.slotCell) + latent * floats.cell + positions;
	const decoder = pictures.bytes + 4 * (held + (slots + 1) * latent * codes.channels);

	const tokensAt = (scale: number) => (scale === 0 ? startTokens : grids[scale][0] * grids[scale][1]);
	const tokens = grids.map((_, scale) => tokensAt(scale));
	const one = largestRound([plan], tokens);
	const workOf = (pictures: number) => {
		const need = roundNeed(Array(pictures).fill(one), mostTokens(shape, codes, bindingBytes));
		return workspaceTensors(shape, codes, need, bindingBytes).reduce((sum, tensor) => sum + plannedBytes(tensor), 0);
	};
	const retained = slots * retainedTokens(plan, grids, costs.crossAttention ? 3 : 2) * shape.width;
	const activations = workOf(slots) + 4 * retained;

	const stored = slots * keyBytes(model, schedules[plan.schedule], plan, textTokens, cacheDtype);
	const longest = Math.max(...[COND, UNCOND].flatMap((row) => storedKeys(plan, tokens, depth, row)), 2 * textTokens);
	const row = keyRow(shape.width, cacheDtype);
	// Those of all slots lie in one tensor, or in as many banks as there have to be.
	const keysTogether = inBanks(shape.width) ? 0 : stored / depth;
	const keys = stored + unpackedBytes(shape.width, row, longest);

	const tensors = residentBytes(
		precision ? plannedTensors(wanted, precision) : manifest.tensors,
		wanted,
		precision ? precision === "f16" : dtype === "f16",
	);
	const sumOf = (some: typeof tensors) => some.reduce((sum, { bytes }) => sum + bytes, 0);
	const ofText = tensors.filter(({ name }) => isText(name));
	const weights = sumOf(tensors) - sumOf(ofText);
	const encoder = sumOf(ofText) + (facts.text?.encoder ? 4 * textWorkFloats(facts.text.encoder) : 0);
	const always = weights + decoder + (stay === "stays" ? encoder : 0);
	const picture = always + keys + activations;
	// The largest block is there as it was and as it becomes, and the workspace of before beside the new one.
	const opening = picture + (slots > 1 ? stored / depth + workOf(slots - 1) : 0);
	const phases = { text: weights + decoder + encoder, picture, opening };
	const single = [pictures.largest, ...tensors.filter(({ cut }) => !cut)];
	const largest = single.reduce((most, next) => (next.bytes > most.bytes ? next : most));
	// Of the cells of all pictures: embeddings, and mixed logits of up to three times as many.
	const shared = Math.max(keysTogether, 4 * slots * one.cells * Math.max(shape.width, 3 * codes.logits));
	return {
		weights,
		encoder,
		decoder,
		keys,
		activations,
		phases,
		total: Math.max(...Object.values(phases)),
		exact: pictures.exact,
		decoding: pictures.operations,
		largest: { name: largest.name, bytes: largest.bytes },
		shared,
	};
}

/** Of all scales of all schedules. */
const positionsOf = (schedules: Schedules): number =>
	Object.values(schedules)
		.flatMap(({ grids }) => grids)
		.reduce((sum, [height, width]) => sum + height * width, 0);

/** Tokens, over all guidance rows, of what a plan keeps of earlier scales; `sublayers`: of a block. */
function retainedTokens(plan: StagePlan, grids: Schedule["grids"], sublayers: number): number {
	const kept = new Map(sourcesIn(plan, sublayers).map((source) => [sourceKey(source), source.scale]));
	const tokens = [...kept.values()].map((scale) => {
		const step = plan.steps[scale];
		return step.kind === "run" ? rowsOf(step).length * grids[scale][0] * grids[scale][1] : 0;
	});
	return tokens.reduce((sum, count) => sum + count, 0);
}
