import { SingleBar } from "cli-progress";
import { type ModelFolder, openModelAt } from "../../model-shards/folder.ts";

/** Opens a bundled model, a folder or a URL. The shards of a URL show a bar while they come. */
export async function openModelWithBar(where: string): Promise<ModelFolder> {
	const bar = new SingleBar({ format: "{bar} {percentage} % of the model, {eta_formatted} left", stream: process.stderr, hideCursor: true });
	let done = 0;
	const folder = await openModelAt(where, {
		progress(bytes) {
			done += bytes;
			if (bar.isActive) bar.update(done);
			else if (done < total) bar.start(total, done);
			if (done >= total) bar.stop();
		},
	});
	const total = folder.manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
	return folder;
}
