/** Two pictures of one seed: one over the other with a slider, where they differ, and what each took. */
import { $, el } from "./dom.ts";
import type { Model } from "./edge.ts";
import type { Run } from "./run.ts";
import { briefly, percent, signed } from "./units.ts";
import { planWork } from "./work.ts";

/** Differences are shown this many times as strong. */
const GAIN = 8;

/** How the two papers lie: side by side while they are made, then one over the other. */
export class Wipe {
	#papers = $("papers");
	#wipe = $<HTMLInputElement>("wipe");
	#side = $("side");

	constructor() {
		this.#wipe.addEventListener("input", () => this.#place(Number(this.#wipe.value)));
		this.#side.addEventListener("click", () => this.#lay(this.#side.getAttribute("aria-pressed") === "true"));
		whileHeld($("swap"), (held) => $("print-b").classList.toggle("away", held));
		// The picture itself is as good a handle.
		this.#papers.addEventListener("pointermove", (event) => {
			if (this.#papers.dataset.compare !== "wipe" || (event.buttons === 0 && event.pointerType !== "mouse")) return;
			const { left, width } = ($("print-b").firstElementChild as Element).getBoundingClientRect();
			this.#place(Math.max(0, Math.min(100, (100 * (event.clientX - left)) / width)));
		});
	}

	/** Both are being made: beside each other. */
	begin(): void {
		$("compare-tools").hidden = true;
		this.#papers.dataset.compare = "side";
	}

	/** Both are there. */
	ready(): void {
		$("compare-tools").hidden = false;
		this.#place(50);
		this.#lay(true);
	}

	end(): void {
		$("compare-tools").hidden = true;
		this.#papers.dataset.compare = "none";
	}

	#lay(over: boolean): void {
		this.#papers.dataset.compare = over ? "wipe" : "side";
		this.#side.setAttribute("aria-pressed", String(!over));
		this.#wipe.disabled = !over;
	}

	#place(share: number): void {
		this.#wipe.value = String(share);
		this.#papers.style.setProperty("--wipe", `${share}%`);
	}
}

/** Calls with true while the button is pressed, by pointer or key, and with false afterwards. */
export function whileHeld(button: HTMLElement, held: (held: boolean) => void): void {
	button.addEventListener("pointerdown", (event) => {
		button.setPointerCapture(event.pointerId);
		held(true);
	});
	for (const end of ["pointerup", "pointercancel", "blur"]) button.addEventListener(end, () => held(false));
	const key = ({ key }: KeyboardEvent) => key === " " || key === "Enter";
	button.addEventListener("keydown", (event) => {
		if (!key(event) || event.repeat) return;
		event.preventDefault();
		held(true);
	});
	button.addEventListener("keyup", (event) => {
		if (key(event)) held(false);
	});
	button.addEventListener("contextmenu", (event) => event.preventDefault());
}

/** Fills the comparison of two finished pictures. Resolves to the result in words. Throws the signal's reason. */
export async function compare(runs: readonly Run[], model: Model | undefined, signal: AbortSignal): Promise<string> {
	const [a, b] = await Promise.all(runs.map(({ picture }) => pixels(picture as Blob)));
	// Other pictures may lie on the table by now.
	signal.throwIfAborted();
	const { image, psnr } = difference(a, b, GAIN);
	const canvas = $<HTMLCanvasElement>("difference");
	[canvas.width, canvas.height] = [a.width, a.height];
	canvas.getContext("2d")?.putImageData(new ImageData(image, a.width), 0, 0);
	const [left, right] = runs.map(({ ask }) => ask.policy);
	const lossy = runs[0].picture?.type === "image/png" ? "" : ", of compressed pictures";
	const alike =
		psnr === Infinity
			? `${left} and ${right} made the same picture.`
			: `PSNR of ${right} to ${left}: ${psnr.toFixed(1)} dB${lossy}.`;
	canvas.setAttribute("aria-label", `Where the two pictures differ. ${alike}`);
	$("difference-note").textContent = `Absolute difference, ${GAIN} times as strong. ${alike}`;
	drawTable(runs, model);
	$("comparison").hidden = false;
	return inWords(runs);
}

function inWords(runs: readonly Run[]): string {
	const [a, b] = runs.map(({ facts }) => facts?.milliseconds ?? 0);
	const [left, right] = runs.map(({ ask }) => ask.policy);
	const saved = a - b;
	const took = `${right} took ${briefly(b)}, ${left} ${briefly(a)}`;
	if (left === right) return `${took}.`;
	return saved >= 0
		? `${took}: ${briefly(saved)} saved, ${percent(saved / a)}.`
		: `${took}: ${briefly(-saved)} longer, ${percent(-saved / a)}.`;
}

/**
 * Of two images of one size: the absolute difference of every value times `gain`, opaque, and the peak signal-to-noise
 * ratio in dB over red, green and blue (infinite for equal images).
 */
export function difference(
	a: ImageData,
	b: ImageData,
	gain: number,
): { image: Uint8ClampedArray<ArrayBuffer>; psnr: number } {
	if (a.width !== b.width || a.height !== b.height)
		throw new RangeError("The pictures are of two sizes and cannot be compared.");
	const image = new Uint8ClampedArray(a.data.length);
	let squares = 0;
	for (let i = 0; i < image.length; i++) {
		const error = a.data[i] - b.data[i];
		if (i % 4 < 3) squares += error * error;
		image[i] = i % 4 < 3 ? gain * Math.abs(error) : 255;
	}
	return { image, psnr: 10 * Math.log10(255 ** 2 / (squares / (a.width * a.height * 3))) };
}

async function pixels(blob: Blob): Promise<ImageData> {
	const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
	const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
	if (!context) throw new Error("This browser gives no canvas to compare on.");
	context.drawImage(bitmap, 0, 0);
	return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function drawTable(runs: readonly Run[], model: Model | undefined): void {
	const times = runs.map(({ facts }) => facts?.milliseconds ?? 0);
	const trades = runs.map(({ ask }) => model?.trades?.[ask.policy]);
	const rows = [
		["picture, on the worker", ...times.map(briefly)],
		["speed", "1×", `${(times[0] / times[1]).toFixed(2)}×`],
		["first preview, here", ...runs.map(({ preview }) => briefly(preview ?? 0))],
		[
			"tokens × rows",
			...runs.map(({ plan, grids }) =>
				plan ? Math.round(planWork(plan, grids, model?.blocks)).toLocaleString("en") : "",
			),
		],
	];
	if (trades.some(Boolean)) {
		const each = (show: (trade: NonNullable<(typeof trades)[number]>) => string) =>
			trades.map((trade) => (trade ? show(trade) : "not measured"));
		rows.push(["measured score", ...each(({ score, delta }) => `${score.toFixed(3)} (${signed(delta)})`)]);
		rows.push(["measured speed", ...each(({ speedup }) => `${speedup.toFixed(2)}×`)]);
	}
	const line = ([name, ...values]: string[], kind: "td" | "th") =>
		el(
			"tr",
			{},
			name ? el("th", { scope: "row" }, name) : el("td"),
			...values.map((value) => el(kind, kind === "th" ? { scope: "col" } : {}, value)),
		);
	const table = $("measures");
	table.querySelector("thead")?.replaceChildren(line(["", ...runs.map(({ ask }) => ask.policy)], "th"));
	table.querySelector("tbody")?.replaceChildren(...rows.map((values) => line(values, "td")));
}
