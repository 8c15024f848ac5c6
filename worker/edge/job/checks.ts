/** Whether what a worker delivers fits the job it is for. In words what is wrong, or null. */
import type { FinalEvent, JobRequest, RevisionEvent, ScaleEvent, WorkerEvent } from "../../protocol/job.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { StagePlan, settle } from "../../protocol/plan.ts";
import { bytesOf } from "../base64.ts";
import type { Size } from "../http/sizes.ts";

/** What a job knows of its picture. */
export interface Picture {
	request: JobRequest;
	grids: readonly (readonly [number, number])[];
	bitsPerToken: number;
	width: number;
	height: number;
}

export function scaleProblem(picture: Picture, event: ScaleEvent): string | null {
	const { plan, format, until = Infinity } = picture.request;
	const { index, grid, codes, mime } = event;
	if (plan.steps[index]?.kind !== "run" || index > until) return `scale ${index} does not run in this plan`;
	const [height, width] = picture.grids[index];
	if (grid[0] !== height || grid[1] !== width)
		return `scale ${index} has the grid ${height}x${width}, not ${grid[0]}x${grid[1]}`;
	const bytes = Math.ceil((height * width * picture.bitsPerToken) / 8);
	if (codes.length !== 4 * Math.ceil(bytes / 3)) return `scale ${index} has ${bytes} bytes of codes`;
	if ((mime === null) !== (event.base64 === null)) return `scale ${index} has half a preview`;
	return mime === null ? null : mimeProblem(mime, format);
}

export function finalProblem(picture: Picture, event: FinalEvent): string | null {
	const { request } = picture;
	const { width, height } = finalSize(picture);
	if (event.seed !== request.seed) return `seed ${event.seed} is not the request's ${request.seed}`;
	if (event.digest !== request.plan.model) return "it was made by another model";
	if (event.width !== width || event.height !== height)
		return `the picture is ${event.width}x${event.height}, not ${width}x${height}`;
	return mimeProblem(event.mime, request.format);
}

/** Whether it ends before its plan does: a sketch. */
const endsEarly = ({ steps }: StagePlan, until: number | undefined): until is number =>
	until !== undefined && until < steps.findLastIndex(({ kind }) => kind === "run");

/**
 * Of the whole picture, as a job says it. A sketch is not resized, and so it says the schedule's own: the size that was
 * asked for is that of the picture which finishes it.
 */
export function wholeSize(
	{ schedules }: ModelInfo,
	{ plan, format, until }: Pick<JobRequest, "plan" | "format" | "until">,
): Size {
	return (!endsEarly(plan, until) && format.size) || schedules[plan.schedule].image;
}

/** A sketch is as large as its last scale's preview; all else is as large as was said. */
function finalSize({ request: { plan, until }, grids, width, height }: Picture): Size {
	if (!endsEarly(plan, until)) return { width, height };
	const [rows, columns] = grids[until];
	const [mostRows, mostColumns] = grids[grids.length - 1];
	return { width: (width * columns) / mostColumns, height: (height * rows) / mostRows };
}

function mimeProblem(mime: string, { type }: JobRequest["format"]): string | null {
	return mime === `image/${type}` ? null : `the picture is ${mime}, and image/${type} was asked for`;
}

const same = (a: StagePlan, b: StagePlan): boolean =>
	JSON.stringify(StagePlan.parse(a)) === JSON.stringify(StagePlan.parse(b));

/** Of a plan that was left open; `logged` is the last scale in the log. */
export function revisionProblem(plan: StagePlan, event: RevisionEvent, logged: number): string | null {
	if (!plan.decide) return same(plan, event.plan) ? null : "the plan is settled";
	if (event.after !== plan.decide.after || logged !== event.after)
		return `the plan is settled after scale ${plan.decide.after}, not after ${event.after}`;
	return same(settle(plan, event.measured), event.plan) ? null : "the plan does not allow this revision";
}

const MAGIC: Readonly<Record<string, (bytes: Uint8Array) => boolean>> = {
	"image/png": (bytes) => starts(bytes, 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
	"image/jpeg": (bytes) => starts(bytes, 0, [0xff, 0xd8, 0xff]),
	"image/webp": (bytes) => starts(bytes, 0, [0x52, 0x49, 0x46, 0x46]) && starts(bytes, 8, [0x57, 0x45, 0x42, 0x50]),
};

function starts(bytes: Uint8Array, at: number, magic: readonly number[]): boolean {
	return magic.every((byte, i) => bytes[at + i] === byte);
}

/** Whether the bytes of an event's picture are what it says of them; needs no job. */
export async function bytesProblem(event: WorkerEvent): Promise<string | null> {
	if ((event.type !== "scale" && event.type !== "final") || event.base64 === null || event.mime === null) return null;
	if (!MAGIC[event.mime](bytesOf(event.base64.slice(0, 32)))) return `the picture's bytes are no ${event.mime}`;
	if (event.type === "scale") return null;
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(event.base64)));
	const hex = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
	return hex === event.sha256 ? null : "the picture's bytes have another sha256";
}
