// @ts-check
/** @import { ModelInfo } from "../protocol/model-info.ts" */
/** @import { Made } from "./print.js" */
import { work } from "./timeline.js";
import { briefly, signed } from "./words.js";

/** Differences are shown this many times as strong. */
const GAIN = 8;

/**
 * Two pictures of one seed: where they differ, and what each took. Resolves to the difference in words.
 * @param {HTMLElement} section @param {Made[]} made @param {ModelInfo | undefined} model
 */
export async function compare(section, made, model) {
	const [a, b] = await Promise.all(made.map(({ blob }) => pixels(blob)));
	const { image, psnr } = difference(a, b, GAIN);
	const canvas = /** @type {HTMLCanvasElement} */ (section.querySelector("canvas"));
	[canvas.width, canvas.height] = [a.width, a.height];
	canvas.getContext("2d")?.putImageData(new ImageData(image, a.width), 0, 0);
	const [left, right] = made.map(({ policy }) => policy);
	const lossy = made[0].final.mime === "image/png" ? "" : ", of compressed pictures";
	const words =
		psnr === Infinity
			? `${left} and ${right} made the same picture.`
			: `PSNR of ${right} to ${left}: ${psnr.toFixed(1)} dB${lossy}.`;
	canvas.setAttribute("aria-label", `Where the two pictures differ. ${words}`);
	/** @type {HTMLElement} */ (section.querySelector("figcaption")).textContent =
		`Absolute difference, ${GAIN} times as strong. ${words}`;
	drawTable(section, made, model);
	section.hidden = false;
	return words;
}

/**
 * Of two images of one size: the absolute difference of every value times `gain`, opaque, and the peak signal-to-noise
 * ratio in dB over red, green and blue (infinite for equal images).
 * @param {ImageData} a @param {ImageData} b @param {number} gain
 */
export function difference(a, b, gain) {
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

/** @param {Blob} blob */
async function pixels(blob) {
	const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
	const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
	const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
		canvas.getContext("2d", { willReadFrequently: true })
	);
	context.drawImage(bitmap, 0, 0);
	return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** @param {HTMLElement} section @param {Made[]} made @param {ModelInfo | undefined} model */
function drawTable(section, made, model) {
	const times = made.map(({ final }) => final.milliseconds);
	const trades = made.map(({ policy }) => model?.trades?.[policy]);
	const rows = [
		["picture, on the worker", ...times.map(briefly)],
		["speed", "1×", `${(times[0] / times[1]).toFixed(2)}×`],
		["first preview, here", ...made.map(({ preview }) => briefly(preview))],
		["tokens × rows", ...made.map(({ plan }) => Math.round(work(plan, model?.blocks)).toLocaleString("en"))],
	];
	if (trades.some(Boolean)) {
		rows.push([
			"measured score",
			...trades.map((measured) =>
				measured ? `${measured.score.toFixed(3)} (${signed(measured.delta)})` : "not measured",
			),
		]);
		rows.push([
			"measured speed",
			...trades.map((measured) => (measured ? `${measured.speedup.toFixed(2)}×` : "not measured")),
		]);
	}
	const row = (/** @type {string[]} */ [name, ...values], /** @type {"td" | "th"} */ kind) => {
		const line = document.createElement("tr");
		line.append(cell("th", name, "row"), ...values.map((value) => cell(kind, value, "col")));
		return line;
	};
	section.querySelector("thead")?.replaceChildren(row(["", ...made.map(({ policy }) => policy)], "th"));
	section.querySelector("tbody")?.replaceChildren(...rows.map((values) => row(values, "td")));
}

/** @param {"td" | "th"} kind @param {string} text @param {string} scope */
function cell(kind, text, scope) {
	const element = document.createElement(kind);
	element.textContent = text;
	if (kind === "th" && text) element.setAttribute("scope", scope);
	return element;
}
