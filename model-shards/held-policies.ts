/** `policies.json` on the disk of this machine, for those who write it. */
import { readFile } from "node:fs/promises";
import { parseJson } from "./format/json.ts";
import { emptyPolicies, PoliciesFile } from "./format/policies.ts";
import { isAbsent } from "./format/source/files.ts";

/** What a file holds, to be added to. One that is of another model or unsound is begun anew. */
export async function heldPolicies(path: string, model: string): Promise<PoliciesFile> {
	const text = await readFile(path).catch((error: unknown) => {
		if (isAbsent(error)) return null;
		throw error;
	});
	const held = text === null ? null : PoliciesFile.safeParse(parseJson(text, path));
	return held?.success && held.data.model === model ? held.data : emptyPolicies(model);
}
