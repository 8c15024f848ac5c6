/** Quality: every prompt and seed by every policy, judged and compared with the exact picture. */
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { makeBranches } from "./branches.ts";
import type { Judge } from "./judge.ts";
import { psnr, squaredError, ssim } from "./likeness.ts";
import { type Prompt, seedOf } from "./prompts.ts";
import type { Cost, PictureLine, Records } from "./records.ts";
import { isRight } from "./rules.ts";
import type { SecondJudge } from "./second-judge/second-judge.ts";

export interface Evaluation {
	model: LoadedModel;
	judge: Judge;
	/** Asked too, where there is one. */
	second?: SecondJudge;
	records: Records;
	/** By policy; the first is the baseline. */
	plans: ReadonlyMap<string, StagePlan>;
	/** Of a plan with nothing left to decide. */
	costOf(plan: StagePlan): Cost;
	signal?: AbortSignal;
	/** So many more pictures are done; those that the records had already were not made. */
	progress?: (done: number, made: number) => void;
}

/**
 * Makes what the records lack, several prompts at a time. An abort ends it after the prompts in hand, with what is done
 * recorded.
 */
export async function evaluateQuality(
	evaluation: Evaluation,
	prompts: readonly Prompt[],
	seeds: number,
	together: number,
): Promise<void> {
	const wanted = Array.from({ length: seeds }, (_, n) => prompts.map((prompt) => ({ prompt, n })))
		.flat()
		.values();
	const work = async () => {
		for (const { prompt, n } of wanted) {
			if (evaluation.signal?.aborted) return;
			const lines = await evaluatePrompt(evaluation, prompt, n);
			evaluation.records.append(...lines);
			evaluation.progress?.(evaluation.plans.size, lines.length);
		}
	};
	await Promise.all(Array.from({ length: together }, work));
	evaluation.signal?.throwIfAborted();
}

/** The lines that are missing. Throws where the exact picture is not the one that the records were compared with. */
async function evaluatePrompt(
	{ model, judge, second, records, plans, costOf }: Evaluation,
	prompt: Prompt,
	n: number,
): Promise<PictureLine[]> {
	const [baseline, ...others] = plans.keys();
	const tells = second?.tells(prompt) ?? false;
	const complete = (policy: string) => {
		const line = records.find("picture", policy, prompt.place, n);
		return line !== undefined && (line.present !== undefined || !tells);
	};
	const missing = others.filter((policy) => !complete(policy));
	const known = records.find("picture", baseline, prompt.place, n);
	if (missing.length === 0 && complete(baseline)) return [];
	const policies = [baseline, ...missing];
	const pictures = await makeBranches(
		model,
		policies.map((policy) => plans.get(policy) as StagePlan),
		{ prompt: prompt.prompt, seed: seedOf(prompt, n) },
	);
	if (known && known.codes !== pictures[0].codes) {
		throw new Error(
			`"${prompt.prompt}", picture ${n}: ${baseline} gives codes ${pictures[0].codes}, the file has ${known.codes}. ` +
				"Results of different arithmetic do not belong in one file: give another --out.",
		);
	}
	const images = pictures.map(({ image }) => image);
	const found = await judge.detect(images);
	const present = tells && second ? await Promise.all(images.map((image) => second.present(image, prompt))) : [];
	return policies.flatMap((policy, i): PictureLine[] => {
		if (i === 0 && complete(baseline)) return [];
		const { image, codes, plan } = pictures[i];
		const error = squaredError(image, pictures[0].image);
		return [
			{
				kind: "picture",
				policy,
				prompt: prompt.place,
				category: prompt.tag,
				n,
				right: isRight(found[i], prompt),
				...(plans.get(policy)?.decide && { cost: costOf(plan) }),
				psnr: error === 0 ? null : round(psnr(error)),
				ssim: round(ssim(image, pictures[0].image)),
				...(present[i] && { present: present[i] }),
				codes,
			},
		];
	});
}

const round = (value: number) => Number(value.toFixed(4));
