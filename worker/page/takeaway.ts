/** The buttons that take a picture along. */
import { $ } from "./dom.ts";
import type { Run } from "./run.ts";
import { animationOf, type FileType, fileOf, linkOf, save, stemOf } from "./share.ts";
import { announce } from "./status.ts";

/** `shown`: the picture on the table. */
export function offerTakeaway(shown: () => Run | undefined): void {
	$("download-menu").addEventListener("click", async ({ target }) => {
		const kind = (target as HTMLElement).dataset.download as FileType | "animation" | undefined;
		const run = shown();
		if (!kind || !run) return;
		try {
			const stem = stemOf(run);
			if (kind === "animation") save(await animationOf(run), `${stem}-scales.webp`);
			else save(await fileOf(run, kind), `${stem}.${kind}`);
		} catch (error) {
			announce((error as Error).message);
		}
	});
	const copy = async (done: string, put: (run: Run) => Promise<void>) => {
		const run = shown();
		if (!run?.picture) return;
		try {
			await put(run);
			announce(done);
		} catch {
			announce("This browser did not allow to copy.");
		}
	};
	$("copy-link").addEventListener("click", () =>
		copy("The link was copied.", (run) => navigator.clipboard.writeText(linkOf(run).href)),
	);
	$("copy-picture").addEventListener("click", () =>
		copy("The picture was copied.", (run) =>
			navigator.clipboard.write([new ClipboardItem({ "image/png": fileOf(run, "png") })]),
		),
	);
}
