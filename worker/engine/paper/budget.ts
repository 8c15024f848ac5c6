/** What a model does to keep within so many bytes of a device, and what would take less. */
import { PRECISIONS, type Precision } from "../../../model-shards/format/precision.ts";
import type { Model } from "../../families/model.ts";
import { type DecoderSize, type DecoderStore, ROOMY } from "../../families/shared/decoder-size.ts";
import { keepsKeys } from "../round/key-value-store.ts";
import { decoderNeed, type MemoryNeed, type MemorySetting, memoryNeed } from "./memory.ts";

/**
 * As many of the slots as have room in one buffer for what they share of it: embeddings, logits, and keys that are not
 * in banks. Those beyond would only wait. At least one.
 */
export function slotsWithin(model: Model, setting: MemorySetting, bufferBytes: number): number {
	const one = memoryNeed(model, { ...setting, slots: 1 }).shared;
	return Math.max(1, Math.min(setting.slots ?? 1, Math.floor(bufferBytes / one)));
}

/** What a budget settles. */
export type Within = Required<Pick<MemorySetting, "cacheDtype" | "encoder" | "stored">>;

const MIB = 2 ** 20;
/** What a decoder may store, what leaves its bits as they are first. The smallest ones gain in some decoders alone. */
export const STORES: readonly DecoderStore[] = [
	ROOMY,
	...[896, 768].map((mebibytes) => ({ bytes: mebibytes * MIB, packed: false })),
	...[576, 432, 320, 176, 144, 96, 32, 0].map((mebibytes) => ({ bytes: mebibytes * MIB, packed: true })),
];
/** Operations of a decoder, over those of the one with most room: half of the transformer's for Infinity-2B. */
const SLOW = 5;

/**
 * How a model keeps within `memory` bytes, by what costs least. What leaves codes as they are comes first, but of plans
 * that look at previews: the decoder stores less between layers and computes more, then the text encoder comes for each
 * new text and goes. Then keys and values are kept in fewer bits, no fewer than have to be, of those that are `kept` at
 * all. Last comes a decoder that computes everything many times over. Undefined where nothing would do.
 */
export function within(
	model: Model,
	setting: MemorySetting,
	memory: number,
	kept: readonly Precision[] = PRECISIONS,
): { within: Within; need: MemoryNeed } | undefined {
	const stays = model.facts.text?.encoder ? (["stays", "visits"] as const) : (["stays"] as const);
	const sizes = new Map<DecoderStore, DecoderSize>();
	const sizeOf = (stored: DecoderStore) => {
		const size = sizes.get(stored) ?? decoderNeed(model, { ...setting, stored });
		sizes.set(stored, size);
		return size;
	};
	const slow = (stored: DecoderStore) => sizeOf(stored).operations > SLOW * sizeOf(STORES[0]).operations;
	const keys = lowerKeys(model, setting, kept);
	const decoders = function* (wanted: boolean) {
		for (const stored of STORES) if (slow(stored) === wanted) yield stored;
	};
	const ways = function* (): Generator<Within> {
		for (const cacheDtype of keys)
			for (const encoder of stays) for (const stored of decoders(false)) yield { cacheDtype, encoder, stored };
		for (const stored of decoders(true))
			for (const cacheDtype of keys) for (const encoder of stays) yield { cacheDtype, encoder, stored };
	};
	for (const within of ways()) {
		const need = memoryNeed(model, { ...setting, ...within }, sizeOf(within.stored));
		if (need.total <= memory) return { within, need };
	}
	return undefined;
}

/** What a budget settled, and what that takes. */
export function withinText(
	{ manifest, facts }: Pick<Model, "manifest" | "facts">,
	{ cacheDtype, encoder, stored }: Within,
	{ phases, total, decoding }: MemoryNeed,
): string {
	const visits =
		`the text encoder comes for new prompts and goes (${gibibytes(phases.text)} while one is encoded, ` +
		`${gibibytes(phases.picture)} while a picture is made)`;
	const text = encoder === "visits" ? visits : facts.text?.encoder && "the text encoder stays";
	const kept = [
		`keys and values as ${cacheDtype}`,
		text,
		`the decoder stores at most ${gibibytes(stored.bytes)}${stored.packed ? " of f16" : ""} between layers ` +
			`and computes ${(decoding / 1e9).toFixed(1)} GFLOP for a picture`,
	];
	return `${manifest.name} takes about ${gibibytes(total)}: ${kept.filter(Boolean).join(", ")}`;
}

/** As keys and values are kept, and what takes less, most first. */
function lowerKeys(
	{ facts }: Pick<Model, "facts">,
	{ cacheDtype = "f32" }: MemorySetting,
	kept: readonly Precision[],
): Precision[] {
	const lower = PRECISIONS.slice(PRECISIONS.indexOf(cacheDtype) + 1);
	const possible = lower.filter((precision) => kept.includes(precision) && keepsKeys(facts.shape.width, precision));
	return [cacheDtype, ...possible];
}

/**
 * Settings that take less than this one, of precisions that the device has, with what to do for each; the smallest
 * saving first, all together last.
 */
function lighter(
	model: Model,
	setting: MemorySetting,
	precisions: readonly Precision[],
): { advice: string; total: number }[] {
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
		["the text encoder there for new texts alone", { encoder: "visits" }],
		["1 slot", { slots: 1 }],
	];
	if (!quantised && precisions.includes("f16")) changes.push(["weights as f16", { precision: "f16", dtype: "f16" }]);
	if (!quantised)
		changes.push(
			["weights imported as int8", { precision: "int8" }],
			["weights imported as int4", { precision: "int4" }],
		);
	for (const cacheDtype of lowerKeys(model, setting, precisions).slice(1))
		changes.push([`keys and values as ${cacheDtype}`, { cacheDtype }]);
	changes.push(["all of it", Object.assign({}, ...changes.map(([, change]) => change))]);
	return changes
		.map(([advice, change]) => ({ advice, total: memoryNeed(model, { ...setting, ...change }).total }))
		.filter(({ total }) => total < 0.98 * now)
		.sort((a, b) => b.total - a.total);
}

/** What is needed and what would fit, for the one who has too little, of precisions that the device has. */
export function memoryAdvice(model: Model, setting: MemorySetting, precisions: readonly Precision[]): string {
	const { weights, encoder, decoder, keys, activations, phases, total } = memoryNeed(model, setting);
	const opening = phases.opening - phases.picture;
	const less = lighter(model, setting, precisions).map(({ advice, total }) => `${advice} ${gibibytes(total)}`);
	const all = { weights, "text encoder": encoder, "keys and values": keys, activations, opening, decoder };
	const parts = Object.entries(all).flatMap(([name, bytes]) => (bytes > 0 ? [`${name} ${gibibytes(bytes)}`] : []));
	const instead = less.length > 0 ? `It would take, with ${less.join("; ")}.` : "Use another GPU.";
	return (
		`${model.manifest.name} with ${setting.slots ?? 1} slot(s) takes about ${gibibytes(total)}: ` +
		`${parts.join(", ")}. ${instead}`
	);
}

const gibibytes = (bytes: number): string =>
	bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
