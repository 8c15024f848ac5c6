import { importModelDirectory } from "../../model-shards/import-directory.ts";
import { parse, UsageError } from "./usage.ts";

/** A released model directory (config.json, transformer.safetensors, vae.safetensors, tokenizer.json) to a model folder. */
export async function importCommand(args: string[]): Promise<number> {
	const { positionals, values } = parse({ args, allowPositionals: true, options: { out: { type: "string" }, licence: { type: "string" } } });
	if (positionals.length !== 1 || !values.out) throw new UsageError("import takes one directory and --out DIR.");
	const { name, tensors, shards } = await importModelDirectory(positionals[0], values.out, { licence: values.licence });
	console.log(`Imported ${name}: ${tensors.length} tensors in ${shards.length} shards to ${values.out}`);
	return 0;
}
