/** A model folder written again in another precision, from its own shards. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { ModelFormatError } from "../format/errors.ts";
import { type Manifest, manifestDigest, manifestText } from "../format/manifest.ts";
import { emptyPolicies, POLICIES_FILE, policiesText } from "../format/policies.ts";
import type { Precision } from "../format/precision.ts";
import { folderSource } from "../format/source/folder.ts";
import { rangeOf, type TensorSource } from "./formats/tensor-source.ts";
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
	{ dir, manifest, family, config, info }: ModelFolder,
	{ name, licence, ...options }: FolderOptions,
): Promise<Manifest> {
	const quantised = manifest.tensors.find(({ quantization }) => quantization);
	if (quantised)
		throw new ModelFormatError(
			`Tensor ${quantised.name} of ${dir} is ${quantised.dtype}. ` +
				"Import from the model in f32 or f16 that it was made of.",
		);
	const source = shardSource(dir, manifest);
	const { schedules, defaultSchedule, sampling, tokenizer } = manifest;
	const made = await importTensors(
		{
			family,
			head: {
				name: name ?? nameIn(manifest.name, options.dtype),
				family: family.name,
				config,
				schedules,
				defaultSchedule,
				sampling,
				licence: licence ?? manifest.licence,
			},
			found: new Map([...source.tensors].map(([name, tensor]) => [name, { source, sourceName: name, tensor }])),
			unused: /^$/,
			label: dir,
			tokenizer: tokenizer && join(dir, tokenizer.file),
		},
		options,
	);
	if (typeof options.out !== "string") return made;
	const policies = {
		...emptyPolicies(await manifestDigest(new TextEncoder().encode(manifestText(made)))),
		calibration: info.calibration,
	};
	const path = join(options.out, POLICIES_FILE);
	if (Object.keys(info.calibration).length > 0) await writeFile(path, policiesText(policies));
	else await rm(path, { force: true });
	return made;
}

/** A model's name with the precision behind it; of one that is too long the end goes. */
function nameIn(name: string, precision: Precision | undefined): string {
	const behind = precision ? `-${precision}` : "";
	return name.slice(0, MAX_NAME - behind.length) + behind;
}
const MAX_NAME = 64;

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
