import { openModelAt } from "../../model-shards/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { modelHeaders } from "../../worker/gpu/registration.ts";
import type { Terminal } from "./terminal.ts";

/**
 * The model folder behind a bundled name, a path or a URL, with a bar while its shards come; the edge that EDGE_URL
 * names gives a token for WORKER_SECRET.
 */
export async function openFolder(where: string, terminal: Terminal): Promise<ModelFolder> {
	const bar = terminal.progress("{bar} {percentage} % of the model, {eta_formatted} left");
	let done = 0;
	const folder = await openModelAt(where, {
		signal: terminal.signal,
		progress: (bytes) => {
			done += bytes;
			if (done < total) bar.report(done, total);
			else bar[Symbol.dispose]();
		},
		headers: () => modelHeaders(where, process.env),
	});
	const total = folder.manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
	return folder;
}
