/** One picture by the exact plan, measured scale by scale. */
import { detailByToken, detailOf, shareHolding } from "../../worker/engine/round/detail.ts";
import { highFrequencyShare } from "../../worker/engine/round/frequency.ts";
import type { LoadedModel, RgbImage, TappedTensor } from "../../worker/engine/types.ts";
import { channelsLast } from "../../worker/families/shared/taps.ts";
import { conditional } from "../../worker/policies/policy.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { agreement, changeByToken, fromSurroundings, holding, rankShare, unsettled } from "./measures.ts";

/** Cells a side at which semantics and structure are looked at: what is where, and its shape. */
const COARSE = 8;
export const MIDDLE = 32;
/** Energy that kept tokens and directions must hold, and change of the picture that kept tokens must make. */
const TOKEN_ENERGY = 0.9;
const CHANGE = 0.95;
const RANK_ENERGY = 0.96;

export interface ScaleObservation {
	/**
	 * Difference of the picture, if it ended here, to the finished one, coarse and middle: 1 is as much as there is to
	 * see.
	 */
	coarse: number;
	middle: number;
	/** Difference, at middle resolution, that dropping guidance from this scale on makes to the finished picture. */
	unguided: number;
	/** Share of the choices that a row alone makes as the guided pair does. */
	conditional: number;
	unconditional: number;
	/** Tokens that hold nearly all of the squared distance from their surroundings, as a share. */
	detail: number;
	/**
	 * By the scale whose picture is looked at: tokens that make nearly all of this scale's change, and what they hold of
	 * what there is to see.
	 */
	looks: { tokens: number; score: number }[];
	/** Share of the latent's energy that is lost when 2 x 2 tokens become their mean. */
	highFrequency: number;
	/**
	 * Directions that hold nearly all energy of a chunk's output, as a share of the tokens, by chunk; empty where ranks
	 * were not asked for.
	 */
	ranks: number[];
	/** Whether the judge finds in that picture what the prompt asks; null without a judge. */
	right: boolean | null;
}

export interface Ask {
	prompt: string;
	seed: number;
	/** Ranks take long. */
	ranks: boolean;
	judge?: (pictures: readonly RgbImage[]) => Promise<boolean[]>;
	signal?: AbortSignal;
}

/** What each scale of the picture shows, in order. `plan`: the exact one. Throws the signal's reason between scales. */
export async function observe(
	model: LoadedModel,
	plan: StagePlan,
	{ prompt, seed, ranks, judge, signal }: Ask,
): Promise<ScaleObservation[]> {
	const { info } = model;
	const { grids } = info.schedules[plan.schedule];
	const scales = new Map<number, Partial<ScaleObservation>>(grids.map((_, scale) => [scale, { ranks: [] }]));
	const guided = new Map<number, [Float32Array | undefined, Float32Array | undefined]>();
	const latents: Float32Array<ArrayBuffer>[] = [];
	const previews: RgbImage[] = [];
	const chunkOf = new Map(info.chunks.map(([, to], chunk) => [to - 1, chunk]));
	for await (const result of model.generate({ plan, prompt, seed, previews: "all", signal, tap: { wants, take } })) {
		if (result.kind === "scale" && result.preview) previews.push(result.preview);
	}
	const ended: RgbImage[] = [];
	for (const latent of latents) ended.push(await model.decode(latent, grids[grids.length - 1]));
	const unguided = await model.branches({
		plans: [plan, ...grids.map((_, scale) => withoutGuidance(plan, scale))],
		prompt,
		seed,
		signal,
	});
	const verdicts = judge ? await judge(ended) : null;
	const finished = ended[ended.length - 1];
	return grids.map((grid, scale) => {
		const change = scale > 0 && changeByToken(ended[scale - 1], ended[scale], grid);
		return {
			...(scales.get(scale) as ScaleObservation),
			coarse: unsettled(ended[scale], finished, COARSE),
			middle: unsettled(ended[scale], finished, MIDDLE),
			right: verdicts ? verdicts[scale] : null,
			unguided: unsettled(unguided[scale + 1].image, finished, MIDDLE),
			looks: change
				? previews.slice(0, scale).map((preview) => holding(change, CHANGE, detailByToken(detailOf(preview), grid)))
				: [],
		};
	});

	function wants(name: string): boolean {
		const block = /^s\d+\.blk(\d+)\.out$/.exec(name);
		return block
			? ranks && chunkOf.has(Number(block[1]))
			: /^s\d+\.(block_in|input|logits_(pre|post)(_cfg)?|summed_codes|f_hat)$/.test(name);
	}

	function take({ name, shape, data }: TappedTensor): void {
		const [, index, what] = /^s(\d+)\.(.*)$/.exec(name) as RegExpExecArray;
		const scale = Number(index);
		const at = scales.get(scale) as Partial<ScaleObservation>;
		const floats = data as Float32Array;
		if (what.startsWith("logits_")) {
			const pair = guided.get(scale) ?? [undefined, undefined];
			pair[what.startsWith("logits_pre") ? 0 : 1] = floats;
			guided.set(scale, pair);
			const [rows, mixed] = pair;
			if (!rows || !mixed) return;
			const logits = mixed.length / (grids[scale][0] * grids[scale][1]);
			// Two a bit, or one for each code of a vocabulary.
			const values = logits === 2 * info.bitsPerToken ? 2 : logits;
			at.conditional = agreement(rows.subarray(0, mixed.length), mixed, values);
			at.unconditional = agreement(rows.subarray(rows.length - mixed.length), mixed, values);
		} else if (what === "summed_codes" || what === "f_hat") {
			const [channels, height, width] = shape;
			latents[scale] = channelsLast(floats, height * width);
			at.highFrequency = highFrequencyShare(latents[scale], [height, width], grids[scale], channels);
		} else {
			const [, tokens, width] = shape;
			const row = floats.subarray(0, tokens * width);
			if (what === "block_in" || what === "input") {
				at.detail = shareHolding(fromSurroundings(row, grids[scale][1], width), TOKEN_ENERGY);
			} else {
				const chunk = chunkOf.get(Number(/blk(\d+)/.exec(what)?.[1])) as number;
				(at.ranks as number[])[chunk] = rankShare(row, width, RANK_ENERGY);
			}
		}
	}
}

const withoutGuidance = (plan: StagePlan, from: number): StagePlan => ({
	...plan,
	steps: plan.steps.map((step, scale) => (step.kind === "run" && scale >= from ? conditional(step) : step)),
});
