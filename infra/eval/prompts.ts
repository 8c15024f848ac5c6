/** GenEval's prompts (Ghosh, Hajishirzi, Schmidt 2023, arXiv 2310.11513), each with what a right picture shows. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const Name = z.string().min(1).max(64);
const Count = z.int().min(1).max(100);
const Prompt = z.strictObject({
	tag: Name,
	include: z.array(
		z.strictObject({
			class: Name,
			count: Count,
			color: Name.optional(),
			/** Relation to the group of an earlier entry, by its index. */
			position: z.tuple([z.enum(["left of", "right of", "above", "below"]), z.int().min(0)]).optional(),
		}),
	),
	/** So many of a class, or more, are wrong. */
	exclude: z.array(z.strictObject({ class: Name, count: Count })).optional(),
	prompt: z.string().min(1).max(2000),
});
export interface Prompt extends z.infer<typeof Prompt> {
	/** Place in the whole list: part of a picture's seed, whatever subset is run. */
	place: number;
}

/** The 553 prompts in their published order. */
export async function readPrompts(
	path = join(import.meta.dirname, "geneval", "evaluation_metadata.jsonl"),
): Promise<Prompt[]> {
	const lines = (await readFile(path, "utf8")).trim().split("\n");
	return lines.map((line, place) => ({ ...Prompt.parse(JSON.parse(line)), place }));
}

/** `count` prompts, as many of each category as possible, evenly spaced in it. The same for the same list. */
export function stratified(prompts: readonly Prompt[], count: number): Prompt[] {
	const categories = [...Map.groupBy(prompts, ({ tag }) => tag).values()];
	const quota = categories.map(() => 0);
	for (let left = Math.min(count, prompts.length), i = 0; left > 0; i = (i + 1) % categories.length) {
		if (quota[i] === categories[i].length) continue;
		quota[i]++;
		left--;
	}
	return categories.flatMap((of, i) =>
		Array.from({ length: quota[i] }, (_, n) => of[Math.floor((n * of.length) / quota[i])]),
	);
}

/** What an evaluation of `scored` prompts does not judge: plans are tuned on these. */
export function besides(prompts: readonly Prompt[], scored: number): Prompt[] {
	const judged = new Set(stratified(prompts, scored));
	return prompts.filter((prompt) => !judged.has(prompt));
}

/** Seed of picture `n` of a prompt. */
export const seedOf = ({ place }: Prompt, n: number): number => 1000 * n + place;
