/** Pictures of one prompt and seed by several plans. */
import { createHash } from "node:crypto";
import type { LoadedModel, RgbImage } from "../../worker/engine/types.ts";
import type { StagePlan, Step } from "../../worker/protocol/plan.ts";

export interface Picture {
	image: RgbImage;
	/** SHA-256 of the codes of all scales, shortened. */
	codes: string;
}
export interface Subject {
	prompt: string;
	seed: number;
	signal?: AbortSignal;
}

/** One picture a plan, in order. The first plan runs whole; the others go on from its codes where they leave it. */
export async function makeBranches(model: LoadedModel, plans: readonly StagePlan[], subject: Subject): Promise<Picture[]> {
	const [trunk, ...others] = plans;
	const first = await make(model, trunk, subject, []);
	const rest = await Promise.all(others.map((plan) => make(model, plan, subject, first.codes.slice(0, commonSteps(trunk, plan)))));
	return [first, ...rest].map(({ image, codes }) => ({ image, codes: digestOf(codes) }));
}

/** Steps that both plans begin with. Stages are names and change no number. */
export function commonSteps(a: StagePlan, b: StagePlan): number {
	const text = (step: Step | undefined) => JSON.stringify({ ...step, stage: null });
	const differ = a.steps.findIndex((step, scale) => text(step) !== text(b.steps[scale]));
	return differ === -1 ? a.steps.length : differ;
}

async function make(model: LoadedModel, plan: StagePlan, subject: Subject, forcedCodes: readonly Uint8Array[]): Promise<{ image: RgbImage; codes: Uint8Array[] }> {
	const codes = [...forcedCodes];
	for await (const result of model.generate({ plan, ...subject, previews: "none", forcedCodes })) {
		if (result.kind === "final") return { image: result.image, codes };
		if (result.kind === "scale") codes.push(result.codes);
	}
	throw new Error(`Plan ${plan.policy} ended without a picture.`);
}

function digestOf(codes: readonly Uint8Array[]): string {
	const hash = createHash("sha256");
	for (const scale of codes) hash.update(scale);
	return hash.digest("hex").slice(0, 16);
}
