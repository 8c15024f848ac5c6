import { SingleBar } from "cli-progress";
import { importModelDirectory } from "../../model-shards/import-directory.ts";
import { families, importPublished } from "../../model-shards/import-published.ts";
import { type Group, GROUPS, type WriteOptions } from "../../model-shards/import-tensors.ts";
import { PRECISIONS } from "../../model-shards/precision.ts";
import type { RoundTrip } from "../../model-shards/round-trip.ts";
import { parse, UsageError } from "./usage.ts";

/**
 * To a model folder: the published checkpoints of a family, or a released model directory (config.json, transformer.safetensors,
 * vae.safetensors, tokenizer.json).
 */
export async function importCommand(args: string[]): Promise<number> {
	const { positionals, values } = parse({
		args,
		allowPositionals: true,
		options: {
			out: { type: "string" },
			family: { type: "string" },
			size: { type: "string" },
			name: { type: "string" },
			licence: { type: "string" },
			tokenizer: { type: "string" },
			"text-encoder": { type: "string" },
			dtype: { type: "string" },
			group: { type: "string", default: `${GROUPS[0]}` },
			check: { type: "boolean", default: false },
		},
	});
	const { out, licence } = values;
	if (positionals.length === 0 || !out) throw new UsageError("import takes a directory or checkpoints, and --out DIR.");
	const dtype = values.dtype === undefined ? undefined : oneOf("dtype", values.dtype, PRECISIONS);
	const group = Number(oneOf("group", values.group, GROUPS.map(String))) as Group;
	const bar = new SingleBar({ format: "{bar} {percentage} %, {eta_formatted} left", stream: process.stderr, hideCursor: true });
	const errors: RoundTrip[] = [];
	const options: Omit<WriteOptions, "out"> = {
		dtype, group,
		progress: (done, total) => (bar.isActive ? bar.update(done) : bar.start(total, done)),
		...(values.check && { checked: (error: RoundTrip) => void errors.push(error) }),
	};
	try {
		const { name, tensors, shards } = await write();
		bar.stop();
		for (const error of errors) console.log(line(error));
		console.log(`Imported ${name}: ${tensors.length} tensors in ${shards.length} shards to ${out}`);
	} finally {
		bar.stop();
	}
	return 0;

	async function write() {
		if (values.family === undefined) {
			if (positionals.length !== 1 || values.size || values.name || values.tokenizer || values["text-encoder"]) throw new UsageError("Without --family, import takes one released model directory and no --size, --name, --text-encoder or --tokenizer.");
			return await importModelDirectory(positionals[0], out as string, { licence, ...options });
		}
		const family = families[oneOf("family", values.family, Object.keys(families))];
		if (values.size === undefined) throw new UsageError(`--family ${values.family} needs --size: ${family.sizes.join(", ")}.`);
		return await importPublished(family, values.size, positionals, { out: out as string, licence, name: values.name, tokenizer: values.tokenizer, textEncoder: values["text-encoder"], ...options });
	}
}

function oneOf<T extends string>(option: string, value: string, choices: readonly T[]): T {
	if (!choices.includes(value as T)) throw new UsageError(`--${option} must be one of ${choices.join(", ")}, not ${value}.`);
	return value as T;
}

function line({ name, dtype, max, relative, rms }: RoundTrip): string {
	return `${dtype.padEnd(4)} max ${max.toExponential(2)}, relative ${relative.toExponential(2)}, rms ${rms.toExponential(2)}  ${name}`;
}
