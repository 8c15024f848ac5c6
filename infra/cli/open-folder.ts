import { SingleBar } from "cli-progress";
import { isUrl, openModelAt } from "../../model-shards/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { edgeHeaders } from "../../worker/gpu/settings.ts";

/** The model folder behind a bundled name, a path or a URL; the edge that EDGE_URL names is shown WORKER_SECRET. */
export async function openFolder(where: string, progress?: (bytes: number) => void): Promise<ModelFolder> {
	return await openModelAt(where, { progress, ...(isUrl(where) && { headers: edgeHeaders(where, process.env) }) });
}

/** The same, with a bar while shards come. */
export async function openFolderWithBar(where: string): Promise<ModelFolder> {
	const bar = new SingleBar({
		format: "{bar} {percentage} % of the model, {eta_formatted} left",
		stream: process.stderr,
		hideCursor: true,
	});
	let done = 0;
	const folder = await openFolder(where, (bytes) => {
		done += bytes;
		if (bar.isActive) bar.update(done);
		else if (done < total) bar.start(total, done);
		if (done >= total) bar.stop();
	});
	const total = folder.manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
	return folder;
}
