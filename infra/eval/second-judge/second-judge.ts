/**
 * A second opinion: whether what a prompt names is there, by a detector that others trained on photographs, for the
 * objects that it can tell on such drawings.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { RgbImage } from "../../../worker/engine/types.ts";
import type { Prompt } from "../prompts.ts";
import { Detector } from "./detector.ts";

/** How an object of GenEval is recognised: chosen by `choose.ts` on clean drawings. */
const Recognised = z.strictObject({
	object: z.string().min(1),
	label: z.string().min(1),
	/** It is there where the label's best score is at least this. */
	threshold: z.number().min(0).max(1),
	/** Of clean drawings that the threshold was not chosen on: found where it is drawn, and where it is not. */
	recall: z.number().min(0).max(1),
	falsePositives: z.number().min(0).max(1),
	drawings: z.int().min(1),
});
export type Recognised = z.infer<typeof Recognised>;
export const RECOGNISED_FILE = join(import.meta.dirname, "recognised.json");

export class SecondJudge {
	readonly #recognised: readonly Recognised[];
	readonly #detector: Detector;

	private constructor(recognised: readonly Recognised[], detector: Detector) {
		this.#recognised = recognised;
		this.#detector = detector;
	}

	/** Throws where the detector's packages are not installed. */
	static async open(): Promise<SecondJudge> {
		const recognised = z.array(Recognised).parse(JSON.parse(readFileSync(RECOGNISED_FILE, "utf8")));
		return new SecondJudge(recognised, await Detector.open());
	}

	/** Whether it knows any of a prompt's objects. */
	tells(prompt: Pick<Prompt, "include">): boolean {
		return this.#asked(prompt).length > 0;
	}

	/** Of a prompt's objects, those it knows: whether each is in the picture. */
	async present(picture: RgbImage, prompt: Pick<Prompt, "include">): Promise<Record<string, boolean>> {
		const scores = await this.#detector.scores(picture);
		return Object.fromEntries(
			this.#asked(prompt).map(({ object, label, threshold }) => [object, (scores.get(label) ?? 0) >= threshold]),
		);
	}

	async close(): Promise<void> {
		await this.#detector.close();
	}

	#asked({ include }: Pick<Prompt, "include">): Recognised[] {
		return this.#recognised.filter(({ object }) => include.some(({ class: name }) => name === object));
	}
}
