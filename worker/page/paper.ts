/** The paper: each picture is laid under the one before, which fades away. */
import { el } from "./dom.ts";
import { bytesAtHand } from "./run.ts";

/** A preview is drawn at once; the finished picture is an image, which can be saved with all that its file holds. */
type Sheet = HTMLCanvasElement | HTMLImageElement;

/** Of `leave` in style/picture.css. */
const FADE_MS = 450;

export class Paper {
	/** What lies there now. */
	sheet: Sheet;
	#subject = "";
	/** Pictures are shown in the order they came, however long each takes to decode. */
	#turn: Promise<void> = Promise.resolve();
	#epoch = 0;
	/** When the last one was laid there. */
	#laid = 0;

	/** `empty`: an image without a picture, whose place every picture takes. */
	constructor(empty: HTMLImageElement) {
		this.sheet = empty;
	}

	clear(subject: string): void {
		this.#epoch++;
		this.#subject = subject;
		for (const leaving of this.sheet.parentElement?.querySelectorAll(".leaving") ?? []) leaving.remove();
		this.#lay(el("img", { hidden: true }), false);
	}

	/** Resolves once it lies there, or the paper was cleared. `scale`: its index, or `final`. */
	show(blob: Blob, scale: string, fade = true): Promise<void> {
		const epoch = this.#epoch;
		const decoded: Promise<Sheet> = scale === "final" ? imageOf(blob) : drawingOf(blob);
		this.#turn = this.#turn
			.then(() => decoded)
			.then(
				(next) => {
					if (epoch !== this.#epoch) return remove(next);
					next.dataset.scale = scale;
					this.#lay(next, fade && this.sheet.dataset.scale !== undefined);
				},
				// What cannot be decoded leaves what is there.
				() => {},
			);
		return this.#turn;
	}

	#lay(next: Sheet, fade: boolean): void {
		const before = this.sheet;
		// One after the other in quick succession, each would fade while the next one fades.
		const now = performance.now();
		const rested = now - this.#laid > FADE_MS;
		this.#laid = now;
		next.id = before.id;
		next.draggable = false;
		if (next instanceof HTMLImageElement) next.alt = this.#subject;
		else if (this.#subject) [next.role, next.ariaLabel] = ["img", this.#subject];
		before.before(next);
		this.sheet = next;
		if (fade && rested) leave(before);
		else remove(before);
	}
}

/** The pixels, drawn as soon as they are decoded: an image would wait for frames of the page before it says so. */
async function drawingOf(blob: Blob): Promise<HTMLCanvasElement> {
	const bytes = bytesAtHand(blob);
	if (bytes && "ImageDecoder" in globalThis) {
		const decoder = new ImageDecoder({ type: blob.type, data: bytes });
		const { image } = await decoder.decode();
		const canvas = el("canvas", { width: image.displayWidth, height: image.displayHeight });
		canvas.getContext("2d", { alpha: false })?.drawImage(image, 0, 0);
		image.close();
		decoder.close();
		return canvas;
	}
	const bitmap = await createImageBitmap(blob);
	const canvas = el("canvas", { width: bitmap.width, height: bitmap.height });
	canvas.getContext("bitmaprenderer")?.transferFromImageBitmap(bitmap);
	return canvas;
}

async function imageOf(blob: Blob): Promise<HTMLImageElement> {
	const image = el("img", { src: URL.createObjectURL(blob) });
	try {
		await image.decode();
		return image;
	} catch (error) {
		remove(image);
		throw error;
	}
}

function leave(sheet: Sheet): void {
	for (const name of ["id", "role", "aria-label"]) sheet.removeAttribute(name);
	if (sheet instanceof HTMLImageElement) sheet.alt = "";
	sheet.className = "leaving";
	const gone = () => remove(sheet);
	sheet.addEventListener("animationend", gone);
	setTimeout(gone, 1000);
}

function remove(sheet: Sheet): void {
	sheet.remove();
	if (sheet instanceof HTMLImageElement && sheet.src.startsWith("blob:")) URL.revokeObjectURL(sheet.src);
}
