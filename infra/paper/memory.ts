/** What the big models take on a device, from their manifests alone. */
import { residentBytes } from "../../model-shards/format/layout.ts";
import { PRECISIONS, type Precision } from "../../model-shards/format/precision.ts";
import { plannedTensors } from "../../model-shards/format/stored.ts";
import { type Within, within } from "../../worker/engine/paper/budget.ts";
import { type MemoryNeed, memoryNeed } from "../../worker/engine/paper/memory.ts";
import { modelInfo } from "../../worker/families/model.ts";
import { NO_DIGEST, plannedModel } from "../../worker/families/planned.ts";
import { PUBLISHED_TEXT, type TextEncoderConfig } from "../../worker/families/text/config.ts";
import { textTensors } from "../../worker/families/text/tensors.ts";
import { exact } from "../../worker/policies/exact.ts";
import { table } from "../eval/markdown.ts";
import { paperRows } from "./paper.ts";
import { BIG_MODELS } from "./published.ts";

export interface MemoryRow {
	model: string;
	policy: string;
	precision: Precision;
	need: MemoryNeed;
	/** Of a further picture at the same time. */
	further: number;
}

const POLICIES = ["exact", "stagevar"];

/** One picture at a time at 1024 pixels (VAR at 256), keys as f16 but where weights are f32. */
export function memoryRows(): MemoryRow[] {
	const big = BIG_MODELS.flatMap((of) =>
		paperRows(of)
			.filter(({ name }) => POLICIES.includes(name))
			.map(({ name, plan }) => ({ title: of.title, model: of.model, policy: name, plan, textTokens: of.textTokens })),
	);
	const model = plannedModel("var", "d30");
	const plan = exact.plan(modelInfo(model, NO_DIGEST), {});
	const all = [...big, { title: "VAR-d30", model, policy: "exact", plan, textTokens: 0 }];
	return all.flatMap(({ title, model, policy, plan, textTokens }) =>
		PRECISIONS.map((precision): MemoryRow => {
			const half = precision !== "f32";
			const setting = { precision, cacheDtype: half ? ("f16" as const) : undefined, plan, textTokens };
			const need = memoryNeed(model, setting);
			const further = memoryNeed(model, { ...setting, slots: 2 }).phases.picture - need.phases.picture;
			return { model: title, policy, precision, need, further };
		}),
	);
}

/** What a model with its text encoder does to keep within so many bytes. */
export interface BudgetRow {
	model: string;
	policy: string;
	precision: Precision;
	memory: number;
	within: Within;
	need: MemoryNeed;
	/** Of a further picture at the same time. */
	further: number;
}

/** GiB of cards that Infinity-2B is to fit, by precision. */
const BUDGETS: [Precision, number][] = [
	["f16", 8],
	["int8", 5],
	["int4", 3.5],
];

/**
 * Infinity-2B with Flan-T5-XL in the same precision, one square picture at a time. As the engine does where there are
 * squares alone, all is settled for the exact plan, which takes most; other plans then take less. Throws RangeError
 * where nothing would do.
 */
export function budgetRows(): BudgetRow[] {
	const [{ title, textTokens, ...big }] = BIG_MODELS;
	const plans = paperRows({ title, textTokens, ...big }).filter(({ name }) => POLICIES.includes(name));
	return BUDGETS.flatMap(([precision, gibibytes]) => {
		const model = plannedModel("infinity", "2b", { textEncoder: PUBLISHED_TEXT["google/flan-t5-xl"] });
		const setting = { precision, cacheDtype: "f16" as const, textTokens };
		const memory = gibibytes * 2 ** 30;
		const kept = within(model, setting, memory);
		if (!kept)
			throw new RangeError(`${title} in ${precision} does not keep within ${gibibytes} GiB, whatever it does.`);
		return plans.map(({ name, plan }): BudgetRow => {
			const of = { ...setting, ...kept.within, plan };
			const need = memoryNeed(model, of);
			const further = memoryNeed(model, { ...of, slots: 2 }).phases.picture - need.phases.picture;
			return { model: title, policy: name, precision, memory, within: kept.within, need, further };
		});
	});
}

/** Bytes of a text encoder's weights. */
export function textBytes(config: TextEncoderConfig, precision: Precision): number {
	const wanted = textTensors(config);
	const tensors = residentBytes(plannedTensors(wanted, precision), wanted, precision === "f16");
	return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The tables, and what text encoders take beside the first. */
export function memoryText(rows: readonly MemoryRow[], budgets: readonly BudgetRow[]): string {
	const cells = rows.map(({ model, policy, precision, need, further }) => [
		model,
		policy,
		precision,
		...[need.weights, need.keys, need.activations, need.decoder, need.total].map((bytes) => gib(bytes)),
		gib(further),
	]);
	const head = [
		"model",
		"policy",
		"weights as",
		"weights",
		"keys",
		"activations",
		"decoder",
		"all",
		"a further picture",
	];
	const encoders = Object.entries(PUBLISHED_TEXT).map(
		([name, config]) =>
			`- ${name}: ${PRECISIONS.map((precision) => `${precision} ${gib(textBytes(config, precision))}`).join(", ")}`,
	);
	const text = ["Text encoders, in GiB:", "", ...encoders];
	return [
		...table(head, cells),
		"",
		...text,
		"",
		"Within budgets, text encoder included:",
		"",
		...budgetTable(budgets),
	].join("\n");
}

function budgetTable(rows: readonly BudgetRow[]): string[] {
	const head = [
		"model",
		"policy",
		"weights as",
		"budget",
		"keys as",
		"text encoder",
		"decoder stores",
		"decoder TFLOP",
		"keys",
		"while a text is encoded",
		"while a picture is made",
		"a further picture",
	];
	const cells = rows.map(({ model, policy, precision, memory, within, need, further }) => [
		model,
		policy,
		precision,
		gib(memory),
		within.cacheDtype,
		within.encoder,
		`${gib(within.stored.bytes)}${within.stored.packed ? " as f16" : ""}`,
		(need.decoding / 1e12).toPrecision(3),
		...[need.keys, need.phases.text, need.phases.picture, further].map((bytes) => gib(bytes)),
	]);
	return table(head, cells);
}

const gib = (bytes: number) => (bytes / 2 ** 30).toPrecision(3);
