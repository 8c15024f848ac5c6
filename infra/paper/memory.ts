/** What the big models take on a device, from their manifests alone. */
import { residentBytes } from "../../model-shards/format/layout.ts";
import { PRECISIONS, type Precision } from "../../model-shards/format/precision.ts";
import { plannedTensors } from "../../model-shards/format/stored.ts";
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
			const further = memoryNeed(model, { ...setting, slots: 2 }).total - need.total;
			return { model: title, policy, precision, need, further };
		}),
	);
}

/** Bytes of a text encoder's weights. */
export function textBytes(config: TextEncoderConfig, precision: Precision): number {
	const wanted = textTensors(config);
	const tensors = residentBytes(plannedTensors(wanted, precision), wanted, precision === "f16");
	return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The table, and what text encoders take beside it. */
export function memoryText(rows: readonly MemoryRow[]): string {
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
	return [...table(head, cells), "", "Text encoders, in GiB:", "", ...encoders].join("\n");
}

const gib = (bytes: number) => (bytes / 2 ** 30).toPrecision(3);
