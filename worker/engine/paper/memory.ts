/** What a model and its pictures take on a device, from its manifest alone, and what would take less. */
import { residentBytes } from "../../../model-shards/format/layout.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import { plannedTensors } from "../../../model-shards/format/stored.ts";
import { type Model, modelInfo } from "../../families/model.ts";
import { decoderSize, STORED_BYTES } from "../../families/shared/decoder-size.ts";
import { latentCells, latentGrids } from "../../families/shared/schedules.ts";
import { exact } from "../../policies/exact.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { inBanks } from "../round/key-value-store.ts";
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
	cacheDtype?: "f32" | "f16";
	/** Pictures at once, by these schedules' longest. */
	slots?: number;
	schedule?: string;
	/** Of a prompt. */
	textTokens?: number;
	/** That all pictures are made by; left out: the exact one of the schedule, which takes most. */
	plan?: StagePlan;
	/** What the decoder stores between layers at a time, at most; left out: as much as is worth it. */
	stored?: number;
	/** The most that a binding of the device holds; left out: that of most GPUs. */
	bindingBytes?: number;
}

/** Bytes. */
export interface MemoryNeed {
	weights: number;
	/** Of the decoder, for one picture of the model's largest schedule, and of tables and latents. */
	decoder: number;
	/** Of all slots: cached keys and values, and activations of the largest round. */
	keys: number;
	activations: number;
	total: number;
	/** Pictures have the bits of those that are decoded whole, whatever is stored. */
	exact: boolean;
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

/** For pictures by the exact plan, the largest there is. Within a few percent of what the engine allocates. */
export function memoryNeed(model: Model, setting: MemorySetting = {}): MemoryNeed {
	const { precision, dtype = "f32", cacheDtype = "f32", slots = 1, schedule } = setting;
	const { textTokens = TEXT_TOKENS, bindingBytes = BINDING_BYTES, stored } = setting;
	const { manifest, wanted, facts, costs } = model;
	const { schedules } = manifest;
	const { shape, codes, startTokens } = facts;
	const { depth } = shape;
	const plan = setting.plan ?? exact.plan(modelInfo(model, ""), { schedule });
	const grids = schedules[plan.schedule].grids;

	const latent = latentCells(schedules) * codes.patch ** 2;
	const pictures = decoderSize(
		facts.decoder,
		codes.channels,
		latentGrids(schedules, codes.patch),
		bindingBytes,
		stored,
	);
	const { floats } = costs;
	const held = floats.once + slots * floats.slot + latent * floats.cell + slots * latent * floats.slotCell;
	const decoder = pictures.bytes + 4 * (held + (slots + 1) * latent * codes.channels);

	const tokensAt = (scale: number) => (scale === 0 ? startTokens : grids[scale][0] * grids[scale][1]);
	const tokens = grids.map((_, scale) => tokensAt(scale));
	const one = largestRound([plan], tokens);
	const round = workspaceTensors(
		shape,
		codes,
		roundNeed(Array(slots).fill(one), mostTokens(shape, codes, bindingBytes)),
		bindingBytes,
	);
	const retained = slots * retainedTokens(plan, grids, costs.crossAttention ? 3 : 2) * shape.width;
	const activations = round.reduce((sum, tensor) => sum + plannedBytes(tensor), 4 * retained);
	const keys = slots * keyBytes(model, schedules[plan.schedule], plan, textTokens, cacheDtype === "f16" ? 2 : 4);

	// In banks, those of one row have to lie together, and of all slots in one tensor else.
	const longest = Math.max(...[COND, UNCOND].flatMap((row) => storedKeys(plan, tokens, depth, row)), 2 * textTokens);
	const rowKeys = longest * 2 * shape.width * (cacheDtype === "f16" ? 2 : 4);
	const keysTogether = inBanks(shape.width) ? rowKeys : keys / depth;

	const tensors = residentBytes(
		precision ? plannedTensors(wanted, precision) : manifest.tensors,
		wanted,
		precision ? precision === "f16" : dtype === "f16",
	);
	const weights = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
	const single = [pictures.largest, ...tensors.filter(({ cut }) => !cut)];
	const largest = single.reduce((most, next) => (next.bytes > most.bytes ? next : most));
	const shared = Math.max(keysTogether, 4 * 3 * slots * one.cells * codes.logits);
	return {
		weights,
		decoder,
		keys,
		activations,
		total: weights + decoder + keys + activations,
		exact: pictures.exact,
		largest: { name: largest.name, bytes: largest.bytes },
		shared,
	};
}

/** Tokens, over all guidance rows, of what a plan keeps of earlier scales; `sublayers`: of a block. */
function retainedTokens(plan: StagePlan, grids: Schedule["grids"], sublayers: number): number {
	const kept = new Map(sourcesIn(plan, sublayers).map((source) => [sourceKey(source), source.scale]));
	const tokens = [...kept.values()].map((scale) => {
		const step = plan.steps[scale];
		return step.kind === "run" ? rowsOf(step).length * grids[scale][0] * grids[scale][1] : 0;
	});
	return tokens.reduce((sum, count) => sum + count, 0);
}

/**
 * As many of the slots as have room for their keys and logits in one buffer; those beyond would only wait. At least
 * one.
 */
export function slotsWithin(model: Model, setting: MemorySetting, bufferBytes: number): number {
	const one = memoryNeed(model, { ...setting, slots: 1 }).shared;
	return Math.max(1, Math.min(setting.slots ?? 1, Math.floor(bufferBytes / one)));
}

/**
 * How much the decoder may store between layers where all together is to take at most `memory` bytes: the less, the
 * more it computes twice. Undefined where nothing would do.
 */
export function storedWithin(model: Model, setting: MemorySetting, memory: number): number | undefined {
	const choices = [1, 3 / 4, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 0].map((share) => share * STORED_BYTES);
	return choices.find((stored) => memoryNeed(model, { ...setting, stored }).total <= memory);
}

/** Settings that take less than this one, with what to do for each; the smallest saving first, all together last. */
export function lighter(model: Model, setting: MemorySetting): { advice: string; total: number }[] {
	const { manifest } = model;
	const now = memoryNeed(model, setting).total;
	const quantised = manifest.tensors.some(({ quantization }) => quantization);
	const { schedules, defaultSchedule } = manifest;
	const pixels = (name: string) => schedules[name].image.height * schedules[name].image.width;
	const smallest = Object.keys(schedules).reduce(
		(a, b) => (pixels(b) < pixels(a) ? b : a),
		setting.schedule ?? defaultSchedule,
	);
	const changes: [string, MemorySetting][] = [
		[`schedule ${smallest}`, { schedule: smallest }],
		["keys and values as f16", { cacheDtype: "f16" }],
		["1 slot", { slots: 1 }],
	];
	if (!quantised)
		changes.push(
			["weights as f16", { precision: "f16", dtype: "f16" }],
			["weights imported as int8", { precision: "int8" }],
			["weights imported as int4", { precision: "int4" }],
		);
	changes.push(["all of it", Object.assign({}, ...changes.map(([, change]) => change))]);
	return changes
		.map(([advice, change]) => ({ advice, total: memoryNeed(model, { ...setting, ...change }).total }))
		.filter(({ total }) => total < 0.98 * now)
		.sort((a, b) => b.total - a.total);
}

/** What is needed and what would fit, for the one who has too little. */
export function memoryAdvice(model: Model, setting: MemorySetting): string {
	const { weights, decoder, keys, activations, total } = memoryNeed(model, setting);
	const less = lighter(model, setting).map(({ advice, total }) => `${advice} ${gibibytes(total)}`);
	const parts = Object.entries({ weights, "keys and values": keys, activations, decoder }).map(
		([name, bytes]) => `${name} ${gibibytes(bytes)}`,
	);
	const instead = less.length > 0 ? `It would take, with ${less.join("; ")}.` : "Use another GPU.";
	return (
		`${model.manifest.name} with ${setting.slots ?? 1} slot(s) takes about ${gibibytes(total)}: ` +
		`${parts.join(", ")}. ${instead}`
	);
}

const gibibytes = (bytes: number): string =>
	bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
