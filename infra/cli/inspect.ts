import { PRECISIONS, type Precision } from "../../model-shards/format/precision.ts";
import { BINDING_BYTES, inspect, type Share } from "../../worker/engine/paper/inspect.ts";
import { memoryNeed } from "../../worker/engine/paper/memory.ts";
import type { Model } from "../../worker/families/model.ts";
import { plannedModel } from "../../worker/families/planned.ts";
import { openFolder } from "./open-folder.ts";
import { parse, UsageError } from "./usage.ts";

/**
 * Tables of a model: a bundled model's name, a folder or the URL of one, or a published size. Reads the manifest and
 * the tokenizer, no shard.
 */
export async function inspectCommand(args: string[]): Promise<number> {
	const { positionals, values } = parse({
		args,
		allowPositionals: true,
		options: { family: { type: "string" }, size: { type: "string" } },
	});
	if (values.family !== undefined) {
		if (positionals.length || values.size === undefined)
			throw new UsageError("inspect --family takes --size, and no model.");
		console.log(inspectionText(plannedModel(values.family, values.size), "not imported"));
		return 0;
	}
	if (positionals.length !== 1)
		throw new UsageError("inspect takes one model folder, its URL, or a bundled model's name.");
	const folder = await openFolder(positionals[0]);
	console.log(inspectionText(folder, folder.digest));
	return 0;
}

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
		`on the device: ${size(device.resident)} of weights, and for a picture ${model.manifest.defaultSchedule} ${size(picture.keys)} of keys and values ` +
			`(as f16 ${size(halved.keys)}), ${size(picture.activations)} of activations, ${size(picture.decoder)} of decoder`,
		`largest tensor beside matrices: ${picture.largest.name}, ${size(picture.largest.bytes)}; an adapter must bind as much`,
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
				return `  ${list.length} ${name}: ${size(bytes)}, ${buffers ? `${buffers} buffers where a binding is limited to ${size(BINDING_BYTES)}` : "which is not cut"}`;
			},
		),
	].join("\n");
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
