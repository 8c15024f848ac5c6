/** What a model and its pictures take on a device, from its manifest alone, and what would take less. */
import { groupNormScratch } from "../../../kernels/norm/group-norm.ts";
import { residentBytes } from "../../../model-shards/format/layout.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import { plannedTensors } from "../../../model-shards/format/stored.ts";
import { type Model, modelInfo } from "../../families/model.ts";
import { MAX_PICTURES } from "../../families/shared/conv-decoder.ts";
import { latentCells } from "../../families/shared/schedules.ts";
import { decoderFloats, mostGroups } from "../../families/shared/vae.ts";
import { exact } from "../../policies/exact.ts";
import { ROWS, rowsOf } from "../round/kv-plan.ts";
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
	/**
	 * The largest tensor that one binding must hold; matrices are cut where it does not. And the largest that grows with
	 * the slots.
	 */
	largest: { name: string; bytes: number };
	shared: number;
}

const TEXT_TOKENS = 32;

/** For pictures by the exact plan, the largest there is. Within a few percent of what the engine allocates. */
export function memoryNeed(
	model: Model,
	{ precision, dtype = "f32", cacheDtype = "f32", slots = 1, schedule, textTokens = TEXT_TOKENS }: MemorySetting = {},
): MemoryNeed {
	const { manifest, wanted, facts, costs } = model;
	const { schedules } = manifest;
	const { shape, codes, startTokens } = facts;
	const { width, depth } = shape;
	const ffn = (shape.gated ? 2 : 1) * shape.ffn;
	const plan = exact.plan(modelInfo(model, ""), { schedule });
	const grids = schedules[plan.schedule].grids;

	const latent = latentCells(schedules) * codes.patch ** 2;
	const { work, scores, pixels } = decoderFloats(facts.decoder, codes.channels, latent);
	const { floats } = costs;
	const held = floats.once + slots * floats.slot + latent * floats.cell + slots * latent * floats.slotCell;
	const decoder =
		4 *
		(held +
			3 * work +
			scores +
			5 * pixels +
			(slots + 1) * latent * codes.channels +
			groupNormScratch(MAX_PICTURES, mostGroups(facts.decoder.config)));

	const tokensAt = (scale: number) => (scale === 0 ? startTokens : grids[scale][0] * grids[scale][1]);
	const rowsAt = plan.steps.map((step, scale) => (step.kind === "run" ? rowsOf(step).length * tokensAt(scale) : 0));
	const rows = slots * Math.max(...rowsAt);
	const cells = slots * Math.max(ROWS * startTokens, tokensAt(grids.length - 1));
	const activations =
		4 *
		(rows * (6 * width + ffn + codes.logits) +
			cells * (2 * codes.logits + 2 * codes.channels * codes.patch ** 2 + width));
	const keys = slots * keyBytes(model, schedules[plan.schedule], plan, textTokens, cacheDtype === "f16" ? 2 : 4);

	const tensors = residentBytes(
		precision ? plannedTensors(wanted, precision) : manifest.tensors,
		wanted,
		precision ? precision === "f16" : dtype === "f16",
	);
	const weights = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
	const single = [
		{ name: "decoder work", bytes: 4 * work },
		{ name: "decoder scores", bytes: 4 * scores },
		{ name: "decoder output", bytes: 16 * pixels },
		{ name: "activations of a block", bytes: 4 * rows * Math.max(ffn, 3 * width) },
		{ name: "logits", bytes: 4 * Math.max(rows, 2 * cells) * codes.logits },
		{ name: "keys and values of a block", bytes: keys / depth },
		...tensors.filter(({ layout }) => layout !== "matrix"),
	];
	const largest = single.reduce((most, next) => (next.bytes > most.bytes ? next : most));
	const shared = Math.max(keys / depth, 4 * 3 * cells * codes.logits);
	return {
		weights,
		decoder,
		keys,
		activations,
		total: weights + decoder + keys + activations,
		largest: { name: largest.name, bytes: largest.bytes },
		shared,
	};
}

/**
 * As many of the slots as have room for their keys and logits in one binding; those beyond would only wait. At least
 * one.
 */
export function slotsWithin(model: Model, setting: MemorySetting, bindingBytes: number): number {
	const one = memoryNeed(model, { ...setting, slots: 1 }).shared;
	return Math.max(1, Math.min(setting.slots ?? 1, Math.floor(bindingBytes / one)));
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
