/** A model folder written again in another precision, from its own shards. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFolder } from "../format/folder.ts";
import {
	type FamilyConfig,
	type Manifest,
	ModelFormatError,
	manifestDigest,
	manifestText,
} from "../format/manifest.ts";
import { emptyPolicies, POLICIES_FILE, policiesText } from "../format/policies.ts";
import { folderSource } from "../format/source/folder.ts";
import { rangeOf, type TensorSource } from "./formats/tensor-source.ts";
import { modelTensors } from "./model.ts";
import { importTensors, type WriteOptions } from "./tensors.ts";

export interface FolderOptions extends WriteOptions {
	/** Left out: the name with the precision behind it. */
	name?: string;
	licence?: string;
}

/**
 * Calibrations go with it: where stages begin and how many tokens they need is the model's nature; scores do not.
 * Throws ModelFormatError for a model of whole numbers, which have lost what another precision needs.
 */
export async function importFolder(
	{ dir, manifest, info }: ModelFolder,
	{ name, licence, ...options }: FolderOptions,
): Promise<Manifest> {
	const quantised = manifest.tensors.find(({ quantization }) => quantization);
	if (quantised)
		throw new ModelFormatError(
			`Tensor ${quantised.name} of ${dir} is ${quantised.dtype}. Import from the model in f32 or f16 that it was made of.`,
		);
	const source = shardSource(dir, manifest);
	const { schedules, defaultSchedule, sampling, tokenizer } = manifest;
	const model: FamilyConfig = manifest;
	const made = await importTensors(
		{
			found: new Map([...source.tensors].map(([name, tensor]) => [name, { source, sourceName: name, tensor }])),
			wanted: modelTensors(model),
			unused: /^$/,
			label: dir,
			head: {
				...({ family: model.family, config: model.config } as FamilyConfig),
				schedules,
				defaultSchedule,
				sampling,
				name: name ?? (options.dtype ? `${manifest.name}-${options.dtype}`.slice(-64) : manifest.name),
				licence: licence ?? manifest.licence,
			},
			tokenizer: tokenizer && join(dir, tokenizer.file),
		},
		options,
	);
	if (typeof options.out !== "string") return made;
	const policies = {
		...emptyPolicies(manifestDigest(new TextEncoder().encode(manifestText(made)))),
		calibration: info.calibration,
	};
	const path = join(options.out, POLICIES_FILE);
	if (Object.keys(info.calibration).length > 0) await writeFile(path, policiesText(policies));
	else await rm(path, { force: true });
	return made;
}

/** The tensors of a folder. Holds the shard read last, once its SHA-256 is right. */
function shardSource(dir: string, { tensors, shards }: Manifest): TensorSource {
	const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
	let held: { shard: number; bytes: Promise<Uint8Array<ArrayBuffer>> } | undefined;
	const source: TensorSource = {
		label: dir,
		tensors: new Map(tensors.map(({ name, dtype, shape, bytes }) => [name, { dtype, shape, bytes }])),
		async read(name, start, end) {
			const { from, to } = rangeOf(source, name, start, end);
			const { shard, offset } = byName.get(name) as (typeof tensors)[number];
			if (held?.shard !== shard) held = { shard, bytes: folderSource(dir).verified(shards[shard]) };
			return (await held.bytes).slice(offset + from, offset + to);
		},
	};
	return source;
}
