/** From a size in pixels to a schedule of the model's, and to the size that its picture is given. */
import { MAX_PICTURE_SIDE } from "../../protocol/limits.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { invalid } from "./errors.ts";
import type { Warnings } from "./warnings.ts";

export interface Size {
	width: number;
	height: number;
}
export interface Sized {
	schedule: string;
	/** Left out: as the model makes it. */
	resized?: Size;
}

/** Aspects this near are taken for the same: what that stretches nobody sees. */
const SAME_ASPECT = 0.02;

/**
 * `auto` or WIDTHxHEIGHT. A size the model does not make is made at its nearest aspect and resized, which is a
 * departure. Nothing is cut or stretched for it: where the model has no such aspect, the picture is the largest of its
 * own that fits.
 */
export function sized(model: ModelInfo, size: string, warnings: Warnings): Sized {
	if (size === "auto") return { schedule: model.defaultSchedule };
	const asked = parsed(model, size);
	// The default schedule first, in case two are as near.
	const schedule = Object.keys(model.schedules)
		.sort((a, b) => Number(b === model.defaultSchedule) - Number(a === model.defaultSchedule))
		.reduce((best, name) => (isNearer(model.schedules[name].image, model.schedules[best].image, asked) ? name : best));
	const made = model.schedules[schedule].image;
	if (text(made) === size) return { schedule };
	const resized = fitted(made, asked);
	warnings.departs(
		"size",
		`size: ${model.id} makes ${sizesOf(model).join(", ")}, not ${size}: ` +
			(text(resized) === text(made) ? `the picture is ${text(made)}` : `${text(made)} resized to ${text(resized)}`),
	);
	return text(resized) === text(made) ? { schedule } : { schedule, resized };
}

/** As OpenAI writes them, each once. */
export const sizesOf = (model: ModelInfo): string[] => [
	...new Set(Object.values(model.schedules).map(({ image }) => text(image))),
];

export const text = ({ width, height }: Size): string => `${width}x${height}`;

function parsed(model: ModelInfo, size: string): Size {
	const [, width, height] = (/^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(size) ?? []).map(Number);
	if (width <= MAX_PICTURE_SIDE && height <= MAX_PICTURE_SIDE) return { width, height };
	throw invalid(
		"size",
		`size: must be auto or WIDTHxHEIGHT of at most ${MAX_PICTURE_SIDE} each. ` +
			`Model ${model.id} makes ${sizesOf(model).join(", ")} without resizing.`,
	);
}

const ratio = (a: number, b: number): number => Math.abs(Math.log(a / b));
const aspect = ({ width, height }: Size): number => width / height;
const area = ({ width, height }: Size): number => width * height;

function isNearer(one: Size, other: Size, asked: Size): boolean {
	const [a, b] = [one, other].map((size) => ratio(aspect(size), aspect(asked)));
	if (Math.abs(a - b) > 1e-6) return a < b;
	return ratio(area(one), area(asked)) < ratio(area(other), area(asked));
}

function fitted(made: Size, asked: Size): Size {
	if (ratio(aspect(made), aspect(asked)) <= SAME_ASPECT) return asked;
	const scale = Math.min(asked.width / made.width, asked.height / made.height);
	return {
		width: Math.max(1, Math.round(made.width * scale)),
		height: Math.max(1, Math.round(made.height * scale)),
	};
}
