/** When a picture was good enough to be used: the first preview that looks like what it became. After the run. */
import sharp from "sharp";
import type { RgbImage } from "../../worker/engine/types.ts";
import { ssim } from "../eval/likeness.ts";
import type { Sample } from "./run.ts";

/**
 * Of the requests that kept their pictures; the others know nothing of it. A picture that no decoder takes is a fault,
 * whole as it may look. `threshold` is an SSIM. Interrupted, it leaves the rest as they are.
 */
export async function settleUsable(samples: readonly Sample[], threshold: number, signal: AbortSignal): Promise<void> {
	for (const { trace, judgement } of samples) {
		if (!trace.keep) continue;
		if (signal.aborted) return;
		const shown = trace.frames.flatMap(({ at, type, picture }) =>
			picture?.kept && picture.problem === null ? [{ at, type, bytes: picture.kept }] : [],
		);
		for (const { picture } of trace.frames) if (picture) picture.kept = null;
		const final = shown.find(({ type }) => type === "final");
		const whole = final && (await decoded(final.bytes, null));
		for (const { at, type, bytes } of shown) {
			const preview = await decoded(bytes, whole ?? null);
			if (!preview) judgement.faults.push({ class: "picture_damaged", detail: `${type}: no decoder takes it` });
			// Smaller ones cannot be told from each other.
			if (!preview || !whole || Math.min(whole.width, whole.height) < 11) continue;
			if (judgement.fromIntended.usable !== null || ssim(preview, whole) < threshold) continue;
			judgement.fromIntended.usable = at - trace.intended;
			judgement.fromSent.usable = at - trace.sent;
		}
	}
}

/** Enlarged as a page would show it, smoothly. Null for what cannot be decoded. */
async function decoded(bytes: Buffer, size: { width: number; height: number } | null): Promise<RgbImage | null> {
	let image = sharp(bytes).removeAlpha().toColourspace("srgb");
	if (size) image = image.resize(size.width, size.height, { fit: "fill", kernel: "cubic" });
	const raw = await image
		.raw()
		.toBuffer({ resolveWithObject: true })
		.catch(() => null);
	if (!raw) return null;
	const { data, info } = raw;
	return { data: new Uint8Array(data), width: info.width, height: info.height };
}
