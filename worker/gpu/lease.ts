import { createHash } from "node:crypto";
import { DeviceError, KernelError } from "../../kernels/gpu/errors.ts";
import type { LoadedModel, RgbImage } from "../engine/types.ts";
import { PromptError } from "../families/text/tokenizer.ts";
import { PlanError } from "../policies/index.ts";
import { allowance, type Pace } from "../protocol/allowance.ts";
import type { ImageFormat, JobRequest, Previews } from "../protocol/job.ts";
import type { Lease, Made } from "../protocol/messages.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { DeliveryError, deliverer, RefusedError } from "./delivery.ts";
import { encodeImage } from "./encode.ts";
import { HungError, watched } from "./watchdog.ts";

/** How a lease ended: `done` needs nothing more, `handed-back` goes on elsewhere. */
export interface Outcome {
	outcome: "done" | "handed-back";
	/** Of one handed back. `hung`: so did the device. */
	cause?: "failed" | "preempted" | "hung";
	reason: string;
	/** Of a finished picture. */
	made?: Made;
}

/** What a lease is run on. */
export interface Bench {
	model: LoadedModel;
	adapter: string;
	edge: string;
	/** Bytes of device memory in use. */
	memory(): number;
	/** A device that gives nothing for this long, and for longer than the picture's pace explains, counts as hung. */
	watchdogSeconds: number;
}

/** Reasons of an abort that returns the lease instead of dropping it: the worker stops, or its device is gone. */
export const HAND_BACK = "hand back";
export const DEVICE_LOST = "device lost";

/**
 * Makes a leased picture: replays the codes logged before, delivers every further scale and the final picture, and
 * obeys the edge's `stop`. Never throws: what would come again at the next try becomes the job's error event, all else
 * is handed back.
 */
export async function runLease(lease: Lease, bench: Bench, signal: AbortSignal): Promise<Outcome> {
	const { model, adapter } = bench;
	const { prompt, label, seed, previews, format, until, trunk } = lease.request;
	const begun = performance.now();
	const mime = `image/${format.type}` as const;
	// What others began under other numerics is nobody's bits alone.
	const numerics = lease.madeUnder === null || lease.madeUnder === model.numerics ? model.numerics : "mixed";
	let { plan } = lease.request;
	const scales: Made["scales"] = [];
	let first: number | null = null;
	let waited = Number.NEGATIVE_INFINITY;
	let hang: HungError | undefined;
	/** The plan as it is by now: a picture made after it was settled says so, whoever settled it. */
	const metadata = () => ({
		...(label === undefined ? { prompt } : { class: label }),
		seed,
		plan,
		model: model.info.id,
		digest: model.info.digest,
		numerics,
		...(trunk && { trunk }),
	});
	const deliver = deliverer(lease, bench.edge, signal);
	/** Previews keep their own sizes. */
	const bare = { ...format, size: undefined };
	const finish = async (image: RgbImage, format: ImageFormat) => {
		const picture = await encodeImage(image, format, metadata());
		const { width, height } = format.size ?? image;
		await deliver({
			type: "final",
			seed,
			mime,
			adapter,
			width,
			height,
			milliseconds: performance.now() - begun,
			base64: picture.toString("base64"),
			sha256: createHash("sha256").update(picture).digest("hex"),
			digest: model.info.digest,
			numerics,
		});
	};
	try {
		// The scale that a sketch ends with is sampled again if need be: its picture is the one that is asked for.
		const forcedCodes = lease.codes.slice(0, until).map((codes) => Uint8Array.from(Buffer.from(codes, "base64")));
		const needed = previewsFor(lease.request);
		const waits = (begins: boolean) => {
			waited = begins ? Number.POSITIVE_INFINITY : performance.now();
		};
		const results = model.generate({ plan, prompt, label, seed, previews: needed, forcedCodes, until, signal, waits });
		const limits = new Limits(lease, bench);
		const watch = {
			limit: () => limits.next(plan),
			waited: () => waited,
			hung: (error: HungError) => {
				hang = error;
			},
		};
		for await (const result of watched(results, watch)) {
			if (result.kind === "scale") {
				limits.came(result.index);
				const { index, grid, stage, step, steps, codes, preview, milliseconds } = result;
				const ends = index === until && step < steps;
				// One that only the sketch itself needs is no part of the event.
				const shown = ends && needed !== previews ? null : preview;
				const picture = shown && (await encodeImage(shown, bare, metadata()));
				const { go } = await deliver({
					type: "scale",
					index,
					grid,
					stage,
					step,
					steps,
					milliseconds: milliseconds.transformer + milliseconds.preview,
					codes: Buffer.from(codes).toString("base64"),
					mime: picture && mime,
					base64: picture?.toString("base64") ?? null,
				});
				first ??= performance.now() - begun;
				scales.push([index, milliseconds.transformer + milliseconds.preview]);
				if (go === "stop") return { outcome: "done", reason: "told to stop" };
				if (ends && preview) await finish(preview, bare);
			} else if (result.kind === "revision") {
				plan = result.plan;
				const { go } = await deliver({ type: "revision", after: result.after, measured: result.measured, plan });
				if (go === "stop") return { outcome: "done", reason: "told to stop" };
			} else await finish(result.image, format);
		}
		const { traceparent, requestId } = lease;
		const about = { policy: lease.request.plan.policy, traceparent, requestId };
		const made = { first, whole: performance.now() - begun, scales, memory: bench.memory(), ...about };
		return { outcome: "done", reason: "", made };
	} catch (error) {
		if (hang) return failedOutcome(hang);
		if (signal.aborted) return abortedOutcome(signal, scales.length > 0);
		const answer = permanent(error, model.info.id, adapter);
		if (answer) {
			await deliver({ type: "error", ...answer }).catch(() => {});
			return { outcome: "done", reason: (error as Error).message.slice(0, 500) };
		}
		return failedOutcome(error);
	}
}

/**
 * The previews that the engine has to make: those that were asked for, and that of a sketch's last scale, which is its
 * picture. Said as so many of the plan's last ones: what comes after that scale does not run.
 */
function previewsFor({ plan, previews, until }: JobRequest): Previews {
	if (until === undefined || previews === "all") return previews;
	const leftOut = plan.steps.filter(({ kind }, scale) => kind === "run" && scale > until).length;
	return Math.max(previews === "none" ? 0 : previews, leftOut);
}

/**
 * Of a lease that somebody ended. A picture may be what its device was lost by: that is not tried without end. One that
 * came on meanwhile ends by itself, and was rather beside such a one.
 */
export function abortedOutcome({ reason }: AbortSignal, cameOn = false): Outcome {
	if (reason === HAND_BACK) return { outcome: "handed-back", cause: "preempted", reason: "the worker is stopping" };
	if (reason === DEVICE_LOST)
		return { outcome: "handed-back", cause: cameOn ? "preempted" : "failed", reason: "the GPU device was lost" };
	return { outcome: "done", reason: String(reason) };
}

/** Of one that may go well elsewhere, or at another time. */
export function failedOutcome(error: unknown): Outcome {
	const { name, message } = error as Error;
	const known = error instanceof DeviceError || error instanceof DeliveryError || error instanceof HungError;
	return {
		outcome: "handed-back",
		cause: error instanceof HungError ? "hung" : "failed",
		reason: `${known ? name : "Error"}: ${message}`.slice(0, 500),
	};
}

/** How long the device may take for the next result: by the pace of the newest scale, of this worker or another. */
class Limits {
	readonly #bench: Bench;
	#pace: Pace | null;
	/** The scale after the newest. */
	#from = 0;
	#to: number;
	#since = performance.now();

	constructor({ pace, codes }: Lease, bench: Bench) {
		this.#bench = bench;
		this.#pace = pace;
		this.#to = codes.length;
	}

	came(scale: number): void {
		// The first one brings whatever was replayed before it, and the text.
		if (this.#from > 0) this.#pace = { scale, milliseconds: performance.now() - this.#since };
		[this.#from, this.#to] = [scale + 1, scale + 1];
	}

	next(plan: StagePlan): number {
		this.#since = performance.now();
		const { grids } = this.#bench.model.info.schedules[plan.schedule] ?? { grids: [] };
		return allowance(plan, grids, this.#pace, [this.#from, this.#to], this.#bench.watchdogSeconds * 1000);
	}
}

/**
 * What fails again however often it is tried, as the reader is told it: the request's own fault, a refused kernel, or
 * an event that the edge does not take.
 */
function permanent(error: unknown, model: string, adapter: string): { code: string; message: string } | undefined {
	if (error instanceof PromptError) return { code: "invalid_prompt", message: error.message.slice(0, 2000) };
	if (error instanceof PlanError) return { code: "invalid_plan", message: error.message.slice(0, 2000) };
	if (error instanceof RefusedError)
		return {
			code: "delivery_refused",
			message: `The edge did not take what was made of ${model} (${error.message}). Try another format or size.`,
		};
	if (!(error instanceof KernelError)) return;
	// The rest is the source; it is in the worker's log.
	const [first] = error.message.split("\n", 1);
	const message =
		`${model} cannot run on ${adapter}, which refuses one of its kernels (${first.slice(0, 500)}). ` +
		"Use another model, or ask for a worker with another GPU or driver.";
	return { code: "kernel_refused", message };
}
