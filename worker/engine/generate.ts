import type { Previews } from "../protocol/job.ts";
import type { RunStep, StagePlan } from "../protocol/plan.ts";
import type { GenerateResult, RgbImage } from "./types.ts";

/** What a model family does for one picture; the generator below decides when. */
export interface FamilyRun {
	/** Text side; once, before the first scale. */
	prepare(ids: readonly number[]): Promise<void>;
	/** Transformer over one scale; packed codes when `sample`. */
	scale(scale: number, sample: boolean): Promise<Uint8Array<ArrayBuffer> | null>;
	/** Codes into the latent, next input out of it. */
	advance(scale: number, codes: Uint8Array): Promise<void>;
	/** The latent decoded at a scale's grid; the schedule's last scale gives the finished picture. */
	decode(scale: number): Promise<RgbImage>;
	destroy(): void;
}

export interface Generation {
	plan: StagePlan;
	grids: readonly (readonly [number, number])[];
	ids: readonly number[];
	previews: Previews;
	forcedCodes?: readonly Uint8Array[];
	sampleForced?: boolean;
	until?: number;
	signal?: AbortSignal;
}

/**
 * Walks a plan scale by scale. Yields every executed scale, then the finished picture (not when `until` ends it earlier).
 * Throws the signal's reason between scales. The run is destroyed however this ends.
 */
export async function* walk(run: FamilyRun, { plan, grids, ids, previews, forcedCodes = [], sampleForced = false, until, signal }: Generation): AsyncGenerator<GenerateResult, void, undefined> {
	const started = performance.now();
	const executed = plan.steps.flatMap((step, index) => (step.kind === "run" ? [{ index, step }] : []));
	const last = executed[executed.length - 1].index;
	const finalScale = grids.length - 1;
	try {
		signal?.throwIfAborted();
		await run.prepare(ids);
		let finished: RgbImage | undefined;
		for (const [position, { index, step }] of executed.entries()) {
			if (until !== undefined && index > until) return;
			signal?.throwIfAborted();
			const begun = performance.now();
			const forced = forcedCodes[index];
			const sampled = await run.scale(index, !forced || sampleForced);
			const codes = forced ?? (sampled as Uint8Array<ArrayBuffer>);
			await run.advance(index, codes);
			const ran = performance.now();
			let preview: RgbImage | null = null;
			if (sampled && wantsPreview(previews, position, executed.length)) {
				preview = await run.decode(index);
				if (index === finalScale) finished = preview;
			}
			if (sampled) yield scaleResult(step, index, grids[index], position + 1, executed.length, sampled, preview, ran - begun, performance.now() - ran);
		}
		if (until !== undefined && until < last) return;
		signal?.throwIfAborted();
		const decoding = performance.now();
		const image = finished ?? (await run.decode(finalScale));
		const now = performance.now();
		yield { kind: "final", image, milliseconds: { decode: now - decoding, total: now - started } };
	} finally {
		run.destroy();
	}
}

/** k previews are those of the k executed scales before the last: the last one's picture is the finished one. */
function wantsPreview(previews: Previews, position: number, executed: number): boolean {
	if (previews === "all") return true;
	if (previews === "none") return false;
	return position < executed - 1 && position >= executed - 1 - previews;
}

function scaleResult(
	step: RunStep, index: number, grid: readonly [number, number], position: number, steps: number,
	codes: Uint8Array<ArrayBuffer>, preview: RgbImage | null, transformer: number, decode: number,
): GenerateResult {
	return { kind: "scale", index, grid: [...grid], stage: step.stage, step: position, steps, codes, preview, milliseconds: { transformer, preview: decode } };
}
