import { openModelAt } from "../../model-shards/folder.ts";
import { BINDING_BYTES, inspect, type Inspection, type Share } from "../../model-shards/inspect.ts";
import { parse, UsageError } from "./usage.ts";

/** A table of a model: a bundled model's name, a folder or the URL of one. Reads the manifest and the tokenizer, no shard. */
export async function inspectCommand(args: string[]): Promise<number> {
	const { positionals } = parse({ args, allowPositionals: true, options: {} });
	if (positionals.length !== 1) throw new UsageError("inspect takes one model folder, its URL, or a bundled model's name.");
	const { manifest, digest } = await openModelAt(positionals[0]);
	console.log(inspectionText(inspect(manifest), digest));
	return 0;
}

export function inspectionText({ name, family, schedules, parts, dtypes, total, device }: Inspection, digest: string): string {
	const rows = [
		["", "tensors", "parameters", "stored"],
		...[...parts, ...dtypes, total].map(({ of, tensors, parameters, bytes }: Share) => [of, `${tensors}`, parameters.toLocaleString("en"), size(bytes)]),
	];
	const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
	const sizes = schedules.map(({ name, height, width, scales }) => `${name} ${width}x${height} in ${scales} scales`);
	return [
		`${name}, family ${family}, ${digest}`,
		`pictures: ${sizes.slice(0, 4).join("; ")}${sizes.length > 4 ? `; and ${sizes.length - 4} more` : ""}`,
		"",
		...rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column] + 2))).join("")),
		"",
		`on the device: ${size(device.resident)} of weights, and what a picture needs beside them`,
		...device.over.map(({ name, bytes, buffers }) => `  ${name}: ${size(bytes)}, ${buffers} buffers where a binding is limited to ${size(BINDING_BYTES)}`),
	].join("\n");
}

function size(bytes: number): string {
	return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 10).toFixed(1)} KiB`;
}
