import { createHash } from "node:crypto";
import { DeviceError, KernelError } from "../../kernels/gpu/errors.ts";
import type { LoadedModel } from "../engine/types.ts";
import { PromptError } from "../families/text/tokenizer.ts";
import { PlanError } from "../policies/index.ts";
import type { WorkerEvent } from "../protocol/job.ts";
import { DeliveryAnswer, type Lease } from "../protocol/messages.ts";
import { encodeImage } from "./encode.ts";

/** How a lease ended: `done` needs nothing more, `handed-back` goes on elsewhere. */
export interface Outcome {
	outcome: "done" | "handed-back";
	reason: string;
}

const DELIVERY_TRIES = 5;

/**
 * Makes a leased picture: replays the codes logged before, delivers every further scale and the final picture, and
 * obeys the edge's `stop`. Never throws: what would come again at the next try becomes the job's error event, all else
 * is handed back.
 */
export async function runLease(
	lease: Lease,
	model: LoadedModel,
	adapter: string,
	edge: string,
	signal: AbortSignal,
): Promise<Outcome> {
	const { request } = lease;
	const { prompt, label, seed, plan, previews, format } = request;
	const begun = performance.now();
	const metadata = {
		...(label === undefined ? { prompt } : { class: label }),
		seed,
		plan,
		model: model.info.id,
		digest: model.info.digest,
		numerics: model.numerics,
	};
	const mime = `image/${format.type}` as const;
	const deliver = (event: WorkerEvent) => post(lease, edge, event, signal);
	try {
		const forcedCodes = lease.codes.map((codes) => Uint8Array.from(Buffer.from(codes, "base64")));
		for await (const result of model.generate({ plan, prompt, label, seed, previews, forcedCodes, signal })) {
			if (result.kind === "scale") {
				const { index, grid, stage, step, steps, codes, preview, milliseconds } = result;
				const picture = preview && (await encodeImage(preview, { ...format, size: undefined }, metadata));
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
				if (go === "stop") return { outcome: "done", reason: "told to stop" };
			} else if (result.kind === "revision") {
				const { go } = await deliver({
					type: "revision",
					after: result.after,
					measured: result.measured,
					plan: result.plan,
				});
				if (go === "stop") return { outcome: "done", reason: "told to stop" };
			} else {
				const picture = await encodeImage(result.image, format, metadata);
				const { width, height } = format.size ?? result.image;
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
					numerics: model.numerics,
				});
			}
		}
		return { outcome: "done", reason: "" };
	} catch (error) {
		if (signal.aborted)
			return signal.reason === HAND_BACK
				? { outcome: "handed-back", reason: "the worker is stopping" }
				: { outcome: "done", reason: "cancelled" };
		const answer = permanent(error, model.info.id, adapter);
		if (answer) {
			await deliver({ type: "error", ...answer }).catch(() => {});
			return { outcome: "done", reason: (error as Error).message.slice(0, 500) };
		}
		const name = error instanceof DeviceError || error instanceof DeliveryError ? error.name : "Error";
		return { outcome: "handed-back", reason: `${name}: ${(error as Error).message}`.slice(0, 500) };
	}
}

/**
 * What fails again however often it is tried, as the reader is told it: the request's own fault, or a refused kernel.
 */
function permanent(error: unknown, model: string, adapter: string): { code: string; message: string } | undefined {
	if (error instanceof PromptError) return { code: "invalid_prompt", message: error.message };
	if (error instanceof PlanError) return { code: "invalid_plan", message: error.message };
	if (!(error instanceof KernelError)) return;
	// The rest is the source; it is in the worker's log.
	const [first] = error.message.split("\n", 1);
	const message =
		`${model} cannot run on ${adapter}, which refuses one of its kernels (${first.slice(0, 500)}). ` +
		"Use another model, or ask for a worker with another GPU or driver.";
	return { code: "kernel_refused", message };
}

/** Reason of an abort that returns the lease instead of dropping it. */
export const HAND_BACK = "hand back";

class DeliveryError extends Error {
	override name = "DeliveryError";
}

/** Posts one event. Network failures and 5xx are tried again; deliveries are idempotent at the edge. */
async function post(lease: Lease, edge: string, event: WorkerEvent, signal: AbortSignal): Promise<DeliveryAnswer> {
	for (let attempt = 1; ; attempt++) {
		let problem: string;
		try {
			const response = await fetch(new URL(lease.deliver, edge), {
				method: "POST",
				headers: { authorization: `Bearer ${lease.token}`, "content-type": "application/json" },
				body: JSON.stringify(event),
				signal: AbortSignal.any([signal, AbortSignal.timeout(20_000)]),
			});
			if (response.ok) return DeliveryAnswer.parse(await response.json());
			problem = `the edge answered ${response.status}`;
			await response.body?.cancel();
			if (response.status < 500) throw new DeliveryError(problem);
		} catch (error) {
			if (error instanceof DeliveryError || signal.aborted) throw error;
			problem = (error as Error).message;
		}
		if (attempt === DELIVERY_TRIES) throw new DeliveryError(`${problem}, ${DELIVERY_TRIES} times`);
		await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt));
	}
}
