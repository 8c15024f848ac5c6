/**
 * Ends with the process that started this one and keeps a channel to it, as `npm start` does: that process can be
 * killed without a word, and a GPU or a port must not stay taken. Without such a channel nothing is watched.
 */
export function endWithParent(end: () => void): void {
	if (!process.send) return;
	// Whatever is still said goes nowhere, and must not fail on its way.
	for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
	// It may have gone while this one was loading.
	if (process.connected) process.once("disconnect", end);
	else end();
}
