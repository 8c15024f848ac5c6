/** The question: what to draw, with which seed, in which shape and how many. */

import { fitsPrompt, MAX_PROMPT_CHARS, MAX_SEED } from "../protocol/limits.ts";
import { $, composing, el, setText } from "./dom.ts";
import type { Ask, Model } from "./edge.ts";
import { sizeName } from "./run.ts";
import { randomSeed, seedOf, wholeOf } from "./units.ts";
import { unknownIn, wordsOf } from "./vocabulary.ts";

/** What a person asks for, without the choice of a policy. */
export type Question = Pick<Ask, "prompt" | "class" | "model" | "schedule" | "seed">;

const SURPRISES = [
	"a photo of a zebra",
	"a photo of a yellow bus",
	"a photo of three birds",
	"a photo of a cat and a clock",
	"a photo of a pizza",
	"a photo of an elephant below a kite",
	"a photo of a blue boat and a red umbrella",
	"a photo of four donuts",
	"a photo of a giraffe right of a car",
	"a photo of a purple teddy bear",
	"a photo of a stop sign",
	"a photo of a sheep and a bicycle",
	"a photo of two bananas",
	"a photo of a potted plant",
	"a photo of an orange skateboard",
];
const WRONG_SEED = `A seed is a whole number from 0 to ${MAX_SEED}.`;
const TOO_LONG = `A prompt has at most ${MAX_PROMPT_CHARS} characters.`;

export class Form {
	readonly prompt = $<HTMLTextAreaElement>("prompt");
	readonly #label = $<HTMLInputElement>("class");
	readonly #seed = $<HTMLInputElement>("seed");
	readonly #keep = $("keep");
	readonly #schedule = $<HTMLSelectElement>("schedule");
	#model: Model | undefined;
	#known: ReadonlySet<string> | undefined;

	/** `generate`: the form was sent, or an example chosen. `typed`: the prompt has changed. */
	constructor(on: { generate(): void; typed(): void }) {
		$("form").addEventListener("submit", (event) => {
			event.preventDefault();
			on.generate();
		});
		this.prompt.addEventListener("keydown", (event) => {
			if (event.key !== "Enter" || event.shiftKey || composing(event)) return;
			event.preventDefault();
			on.generate();
		});
		this.prompt.addEventListener("input", () => {
			this.#mark();
			this.hint();
			on.typed();
		});
		$("examples").addEventListener("click", ({ target }) => {
			const button = (target as Element).closest("button");
			if (!button) return;
			this.say(button.dataset.prompt ?? this.#surprise());
			on.generate();
		});
		this.#seed.addEventListener("input", () => {
			this.#keepSeed(this.#seed.value.trim() !== "");
			this.hint();
		});
		this.#keep.addEventListener("click", () => this.#keepSeed(this.#keep.getAttribute("aria-pressed") !== "true"));
	}

	get classes(): number | undefined {
		return this.#model?.classes;
	}

	/** Text or a class is asked for, as the model draws. */
	setModel(model: Model): void {
		this.#model = model;
		const { classes, schedules, defaultSchedule, vocabulary } = model;
		this.#known = vocabulary && new Set(vocabulary.map((word) => word.toLowerCase()));
		const text = classes === undefined;
		$("prompt-box").hidden = $("examples").hidden = !text;
		this.prompt.disabled = !text;
		this.#label.hidden = this.#label.disabled = text;
		if (!text) this.#label.max = String(classes - 1);
		const name = $("subject-label");
		name.textContent = text ? "Prompt" : `Class, 0 to ${classes - 1}`;
		name.setAttribute("for", text ? "prompt" : "class");
		name.classList.toggle("unseen", text);
		const before = this.#schedule.value;
		this.#schedule.replaceChildren(
			...Object.entries(schedules).map(([schedule, { image }]) => new Option(shapeOf(image), schedule)),
		);
		this.#schedule.value = before in schedules ? before : defaultSchedule;
		$("shape-setting").hidden = Object.keys(schedules).length < 2;
		this.#mark();
		this.hint();
	}

	get schedule(): string {
		return this.#schedule.value || (this.#model?.defaultSchedule ?? "");
	}

	say(prompt: string): void {
		this.prompt.value = prompt;
		this.#mark();
		this.hint();
	}

	/** Fills in what is given, of a link or of a picture's settings. */
	fill({ prompt, class: label, seed, schedule }: Partial<Question>): void {
		if (prompt !== undefined) this.say(prompt);
		if (label !== undefined) this.#label.value = label;
		if (seed !== undefined) {
			this.#seed.value = seed;
			this.#keepSeed(true);
		}
		if (schedule !== undefined && [...this.#schedule.options].some(({ value }) => value === schedule))
			this.#schedule.value = schedule;
		this.hint();
	}

	/** What is asked, with a new seed unless one is kept; undefined, and said why, where something is missing. */
	read(): Question | undefined {
		const problem = this.#problem();
		if (problem) {
			this.hint(problem.text);
			problem.field.focus();
			return undefined;
		}
		if (this.#keep.getAttribute("aria-pressed") !== "true") this.#seed.value = String(randomSeed());
		const seed = this.#seed.value.trim();
		return { ...this.#subject(), model: this.#model?.id, schedule: this.#scheduleAsked(), seed };
	}

	/** The same while it is being typed: whatever is there, or nothing. */
	glance(): Question | undefined {
		const { prompt } = this.#subject();
		if (!prompt || !fitsPrompt(prompt) || !this.#model) return undefined;
		const words = wordsOf(this.prompt.value);
		if (this.#known && unknownIn(this.prompt.value, this.#known).length === words.length) return undefined;
		const seed = String(seedOf(this.#seed.value) ?? 1);
		return { ...this.#subject(), model: this.#model.id, schedule: this.#scheduleAsked(), seed };
	}

	/** The line below the question: what is wrong, else words that the model does not know, else what it draws. */
	hint(problem?: string): void {
		const line = $("hint");
		const seedWrong = this.#seed.value.trim() !== "" && seedOf(this.#seed.value) === undefined;
		this.#seed.toggleAttribute("aria-invalid", false);
		if (seedWrong) this.#seed.setAttribute("aria-invalid", "true");
		const text = problem ?? (seedWrong ? WRONG_SEED : this.#tooLong() ? TOO_LONG : undefined);
		line.dataset.kind = text ? "problem" : "note";
		setText(line, ...(text ? [text] : this.#about()));
	}

	#about(): (string | HTMLElement)[] {
		if (!this.#model) return [];
		const { id, vocabulary, classes, maxPromptTokens } = this.#model;
		const unknown = this.#unknown();
		if (unknown.length > 0) {
			const shown = unknown.slice(0, 4).flatMap((word, i) => [...(i > 0 ? [", "] : []), el("em", {}, word)]);
			const more = unknown.length > 4 ? ` and ${unknown.length - 4} more` : "";
			const ignored = unknown.length > 1 ? "They are ignored." : "It is ignored.";
			return [`${id} does not know `, ...shown, `${more}. ${ignored}`];
		}
		return [
			classes !== undefined
				? `${id} draws classes, 0 to ${classes - 1}.`
				: vocabulary
					? `${id} knows ${vocabulary.length} words, and takes ${maxPromptTokens - 1} at a time.`
					: `${id} draws what you describe.`,
		];
	}

	#scheduleAsked(): string | undefined {
		return this.#model && this.schedule !== this.#model.defaultSchedule ? this.schedule : undefined;
	}

	#subject(): Pick<Ask, "prompt" | "class"> {
		return this.classes === undefined ? { prompt: this.prompt.value.trim() } : { class: this.#label.value.trim() };
	}

	#tooLong(): boolean {
		return !fitsPrompt(this.#subject().prompt ?? "");
	}

	#problem(): { text: string; field: HTMLElement } | undefined {
		if (this.classes === undefined && this.prompt.value.trim() === "")
			return { text: "Say what the picture should show, or choose an example.", field: this.prompt };
		if (this.#tooLong()) return { text: TOO_LONG, field: this.prompt };
		if (this.classes !== undefined && wholeOf(this.#label.value, this.classes - 1) === undefined)
			return { text: `A class is a whole number from 0 to ${this.classes - 1}.`, field: this.#label };
		if (this.#seed.value.trim() !== "" && seedOf(this.#seed.value) === undefined)
			return { text: WRONG_SEED, field: this.#seed };
		return undefined;
	}

	#keepSeed(kept: boolean): void {
		this.#keep.setAttribute("aria-pressed", String(kept));
	}

	#unknown(): string[] {
		if (!this.#known || this.classes !== undefined) return [];
		return [...new Set(unknownIn(this.prompt.value, this.#known).map(({ text }) => text))];
	}

	/** The text once more behind the field, with unknown words marked. */
	#mark(): void {
		const text = this.prompt.value;
		const parts: (string | HTMLElement)[] = [];
		let at = 0;
		for (const { from, to } of this.#known ? unknownIn(text, this.#known) : []) {
			parts.push(text.slice(at, from), el("mark", {}, text.slice(from, to)));
			at = to;
		}
		// A line that has just begun has its height too.
		$("mirror").replaceChildren(...parts, text.slice(at), "\u200b");
	}

	#surprise(): string {
		const known = this.#known;
		const fit = SURPRISES.filter(
			(prompt) => prompt !== this.prompt.value && (!known || unknownIn(prompt, known).length === 0),
		);
		return fit[Math.floor(Math.random() * fit.length)] ?? SURPRISES[0];
	}
}

/** A shape in people's words; schedules are named by height to width. */
function shapeOf({ width, height }: { width: number; height: number }): string {
	const word = width === height ? "square" : width > height ? "wide" : "tall";
	return `${word}, ${sizeName([height, width])}`;
}
