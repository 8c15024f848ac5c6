/** A picture dropped or pasted on the page gives back the settings it was made with. */
import { $ } from "./dom.ts";
import { type Settings, settingsIn } from "./picture-file.ts";

/** Larger files are none of ours. */
const MAX_BYTES = 32 * 1024 * 1024;

/** `found`: a picture's settings, or why there are none. */
export function acceptPictures(found: (settings: Settings | string) => void): void {
	const drop = $("drop");
	const carries = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
	addEventListener("dragover", (event) => {
		if (!carries(event)) return;
		event.preventDefault();
		drop.hidden = false;
	});
	addEventListener("dragleave", (event) => {
		if (event.relatedTarget === null) drop.hidden = true;
	});
	addEventListener("drop", (event) => {
		if (!carries(event)) return;
		event.preventDefault();
		drop.hidden = true;
		read(event.dataTransfer?.files[0]);
	});
	addEventListener("paste", ({ clipboardData }) => {
		const file = clipboardData?.files[0];
		if (file) read(file);
	});

	async function read(file: File | undefined): Promise<void> {
		if (!file) return;
		if (file.size > MAX_BYTES) return found("This file is too large to be a picture made here.");
		const settings = settingsIn(new Uint8Array(await file.arrayBuffer()));
		found(settings ?? "This picture was not made here, or lost its settings on the way.");
	}
}
