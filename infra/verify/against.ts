/** A model against another one of the same shape: what a precision costs, on reference inputs and in pictures. */
import type { GenerateResult, LoadedModel, Tap } from "../../worker/engine/types.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { psnr, squaredError } from "../eval/likeness.ts";

export interface ScaleDifference {
	scale: number;
	/**
	 * Root of the squared differences of the guided logits over that of their squares, when both go on with the
	 * reference's codes.
	 */
	logits: number;
	/** Share of the reference's bits that the model would have chosen too. */
	bits: number;
}
export interface ModelDifference {
	scales: ScaleDifference[];
	/**
	 * Decibels between the finished pictures: of the same codes, and of the same seed, each with its own codes. Infinity:
	 * no difference.
	 */
	samePsnr: number;
	seedPsnr: number;
}

/** What both draw: a prompt, or a class. */
export type Subject = { prompt: string } | { label: number };

/**
 * Runs `reference` freely, then `model` on its codes, then `model` freely. `plan`: by one of the two; the digest is set
 * for each.
 */
export async function difference(
	reference: LoadedModel,
	model: LoadedModel,
	plan: StagePlan,
	subject: Subject,
	seed: number,
): Promise<ModelDifference> {
	const run = async (of: LoadedModel, forcedCodes?: Uint8Array[]) => {
		const logits = new Map<string, ArrayLike<number>>();
		const wanted = new Set(plan.steps.map((_, scale) => guidedLogits(of, scale)));
		const tap: Tap = {
			wants: (name) => wanted.has(name),
			take: ({ name, data }) => void logits.set(name, data),
		};
		const results = await Array.fromAsync(
			of.generate({
				...subject,
				plan: { ...plan, model: of.info.digest },
				seed,
				previews: "none",
				tap,
				forcedCodes,
				sampleForced: forcedCodes !== undefined,
			}),
		);
		const logitsAt = (scale: number): ArrayLike<number> => {
			const found = logits.get(guidedLogits(of, scale));
			if (!found) throw new Error(`${of.info.id} computed no tensor ${guidedLogits(of, scale)} to compare.`);
			return found;
		};
		return { logitsAt, codes: codesOf(results), image: imageOf(results) };
	};
	const expected = await run(reference);
	const same = await run(model, [...expected.codes.values()]);
	const free = await run(model);
	const scales = [...expected.codes].map(
		([scale, codes]): ScaleDifference => ({
			scale,
			logits: relative(same.logitsAt(scale), expected.logitsAt(scale)),
			bits: equalBits(same.codes.get(scale) as Uint8Array, codes),
		}),
	);
	return {
		scales,
		samePsnr: psnr(squaredError(same.image, expected.image)),
		seedPsnr: psnr(squaredError(free.image, expected.image)),
	};
}

/** The name by which a model's guided logits of a scale are tapped. */
const guidedLogits = ({ names }: LoadedModel, scale: number) => `s${scale}.${names.mixed}`;

const codesOf = (results: readonly GenerateResult[]) =>
	new Map(results.flatMap((result) => (result.kind === "scale" ? [[result.index, result.codes] as const] : [])));
const imageOf = (results: readonly GenerateResult[]) =>
	(results[results.length - 1] as Extract<GenerateResult, { kind: "final" }>).image;

function relative(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
	let [error, square] = [0, 0];
	for (let i = 0; i < expected.length; i++) {
		error += (actual[i] - expected[i]) ** 2;
		square += expected[i] ** 2;
	}
	return Math.sqrt(error / (square || 1));
}

/** Of packed codes; the padding bits of the last byte are zero in both. */
function equalBits(a: Uint8Array, b: Uint8Array): number {
	let differing = 0;
	for (let i = 0; i < b.length; i++) for (let bits = a[i] ^ b[i]; bits; bits &= bits - 1) differing++;
	return 1 - differing / (8 * b.length);
}
