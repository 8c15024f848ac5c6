import { PRECISIONS, type Precision } from "../../model-shards/format/precision.ts";
import { BINDING_BYTES, inspect, type Share } from "../../worker/engine/paper/inspect.ts";
import { type MemoryNeed, memoryNeed } from "../../worker/engine/paper/memory.ts";
import { families } from "../../worker/families/index.ts";
import type { Model } from "../../worker/families/model.ts";
import { plannedModel } from "../../worker/families/planned.ts";
import { openFolder } from "./open-folder.ts";
import { choice, given, jsonOption, modelName } from "./options.ts";
import type { Define } from "./program.ts";
import { sizesText } from "./sizes.ts";
import { oneOf, UsageError } from "./usage.ts";

/**
 * Tables of a model: a bundled model's name, a folder or the URL of one, or a published size. Reads the manifest and
 * the tokenizer, no shard.
 */
export const define: Define = (command, terminal) =>
	command
		.argument("[model]", "a bundled model's name, a model folder or its URL", modelName)
		.addOption(choice("family", "a published model in place of one that is there", Object.keys(families)))
		.option("--size <size>", "of that family", given("size"))
		.addOption(jsonOption())
		.addHelpText("after", () => `\nPublished sizes:\n${sizesText()}`)
		.action(async (model, { family, size }) => {
			if ((model === undefined) === (family === undefined))
				throw new UsageError("inspect takes a model, or --family and --size.");
			if ((family === undefined) !== (size === undefined))
				throw new UsageError("--family and --size go together, and no model with them.");
			const shown =
				model === undefined
					? { ...published(family as string, size as string), digest: "not imported" }
					: await openFolder(model, terminal);
			terminal.print(inspectionText(shown, shown.digest));
			terminal.result({
				...inspect(shown),
				digest: shown.digest,
				picture: memoryNeed(shown),
				pictureWithF16Cache: memoryNeed(shown, { cacheDtype: "f16" }),
			});
		});

const published = (family: string, size: string) =>
	plannedModel(family, oneOf("size", size, families[family].published.sizes));

export function inspectionText(model: Model, digest: string): string {
	const { name, family, schedules, parts, dtypes, total, device, precisions } = inspect(model);
	const sizes = schedules.map(({ name, height, width, scales }) => `${name} ${width}x${height} in ${scales} scales`);
	const picture = memoryNeed(model);
	const halved = memoryNeed(model, { cacheDtype: "f16" });
	return [
		`${name}, family ${family}, ${digest}`,
		`pictures: ${sizes.slice(0, 4).join("; ")}${sizes.length > 4 ? `; and ${sizes.length - 4} more` : ""}`,
		"",
		...table(
			["", "tensors", "parameters", "stored"],
			[...parts, ...dtypes, total].map(({ of, tensors, parameters, bytes }: Share) => [
				of,
				`${tensors}`,
				parameters.toLocaleString("en"),
				size(bytes),
			]),
		),
		"",
		`on the device: ${size(device.resident)} of weights, and for a picture ${model.manifest.defaultSchedule} ` +
			`${size(picture.keys)} of keys and values (as f16 ${size(halved.keys)}), ` +
			`${size(picture.activations)} of activations, ${size(picture.decoder)} of decoder`,
		...(picture.encoder > 0 ? [encoderText(model, picture)] : []),
		`largest tensor that is bound whole: ${picture.largest.name}, ${size(picture.largest.bytes)}; ` +
			(picture.largest.name.startsWith("decoder")
				? "where an adapter binds less, pictures are decoded by tiles"
				: "an adapter must bind as much"),
		"",
		...table(
			["imported as", "stored", "on device", `over ${size(BINDING_BYTES)}`, "with a picture"],
			PRECISIONS.map((precision: Precision) => {
				const { stored, resident, over } = precisions[precision];
				return [
					precision,
					size(stored),
					size(resident),
					`${over.length}`,
					size(memoryNeed(model, { precision }).total),
				];
			}),
		),
		...Object.entries(Object.groupBy(device.over, ({ name }) => name.replace(/\.\d+(?=\.)/g, ".*"))).map(
			([name, list = []]) => {
				const [{ bytes, buffers }] = list;
				const cut = `${buffers} buffers where a binding is limited to ${size(BINDING_BYTES)}`;
				return `  ${list.length} ${name}: ${size(bytes)}, ${buffers ? cut : "which is not cut"}`;
			},
		),
	].join("\n");
}

/** What a budget can have come and go. */
function encoderText(model: Model, { encoder }: MemoryNeed): string {
	const { text, picture } = memoryNeed(model, { encoder: "visits" }).phases;
	return (
		`text encoder: ${size(encoder)} of that and of what it works in; where a budget has it come for new prompts and ` +
		`go, ${size(text)} in all while one is encoded, ${size(picture)} while a picture is made`
	);
}

function table(head: string[], body: string[][]): string[] {
	const rows = [head, ...body];
	const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column].length)));
	return rows.map((row) =>
		row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column] + 2))).join(""),
	);
}

function size(bytes: number): string {
	return bytes >= 2 ** 30
		? `${(bytes / 2 ** 30).toFixed(2)} GiB`
		: bytes >= 2 ** 20
			? `${(bytes / 2 ** 20).toFixed(1)} MiB`
			: `${(bytes / 2 ** 10).toFixed(1)} KiB`;
}
