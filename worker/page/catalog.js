// @ts-check
/** @import { ModelInfo } from "../protocol/model-info.ts" */
import { trade } from "./words.js";

/** @typedef {{ name: string, title: string, models: Record<string, string[]> }} PolicyEntry */

/** The choices of the form: models and policies of this edge, and what depends on them. */
export class Catalog {
	/** @type {ModelInfo[]} */
	#models = [];
	/** @type {PolicyEntry[]} */
	#policies = [];
	#$;

	/** @param {(id: string) => HTMLElement} $ */
	constructor($) {
		this.#$ = $;
		this.#select("model").addEventListener("change", () => this.#modelChosen());
		for (const id of ["policy", "compare"]) this.#select(id).addEventListener("change", () => this.#describe());
	}

	/** The model chosen, once the list has come. */
	get model() {
		return this.#models.find(({ id }) => id === this.#select("model").value) ?? this.#models.at(0);
	}

	/** How many classes the model draws; undefined where it draws text. */
	get classes() {
		return this.model?.classes;
	}

	/** One policy, or the two to compare. */
	get policies() {
		return [this.#select("policy").value, this.#select("compare").value].filter(Boolean);
	}

	/** @param {URLSearchParams} wanted */
	async fill(wanted) {
		const [models, policies] = await Promise.all(["v1/models", "v1/policies"].map((url) => json(url, { data: [] })));
		[this.#models, this.#policies] = [models.data, policies.data];
		if (this.#models.length === 0 || this.#policies.length === 0) return;
		const choose = (/** @type {string} */ id, /** @type {Option[]} */ options) => {
			const select = this.#select(id);
			select.replaceChildren(...options.map(({ value, text }) => new Option(text, value)));
			if (options.some(({ value }) => value === wanted.get(id))) select.value = wanted.get(id) ?? "";
		};
		const names = this.#policies.map(({ name }) => ({ value: name, text: name }));
		choose(
			"model",
			this.#models.map(({ id }) => ({ value: id, text: id })),
		);
		choose("policy", names);
		choose("compare", [{ value: "", text: "nothing" }, ...names]);
		this.#$("model-setting").hidden = this.#models.length === 1;
		this.#modelChosen();
	}

	/** Text or a class is asked for, as the model draws; policies that cannot plan it cannot be chosen. */
	#modelChosen() {
		const { model, classes } = this;
		if (!model) return;
		const [prompt, label] = ["prompt", "class"].map((id) => /** @type {HTMLInputElement} */ (this.#$(id)));
		for (const [field, used] of /** @type {const} */ ([
			[prompt, classes === undefined],
			[label, classes !== undefined],
		])) {
			field.hidden = field.disabled = !used;
		}
		this.#$("examples").hidden = classes !== undefined;
		if (classes !== undefined) label.max = String(classes - 1);
		const name = this.#$("subject-label");
		name.textContent = classes === undefined ? "Prompt" : `Class, 0 to ${classes - 1}`;
		name.setAttribute("for", classes === undefined ? "prompt" : "class");
		for (const id of ["policy", "compare"]) {
			const select = this.#select(id);
			for (const option of select.options) {
				const entry = this.#policies.find(({ name }) => name === option.value);
				option.disabled = entry !== undefined && !entry.models[model.id]?.includes(model.defaultSchedule);
			}
			if (select.selectedOptions[0]?.disabled)
				select.value = select.querySelector("option:enabled")?.getAttribute("value") ?? "";
		}
		this.#describe();
	}

	#describe() {
		for (const id of ["policy", "compare"]) {
			const name = this.#select(id).value;
			const title = this.#policies.find((policy) => policy.name === name)?.title;
			const measured = this.model?.trades?.[name];
			this.#$(`${id}-note`).textContent = [title, measured && trade(measured)].filter(Boolean).join(". ");
		}
	}

	#select(/** @type {string} */ id) {
		return /** @type {HTMLSelectElement} */ (this.#$(id));
	}
}

/** @typedef {{ value: string, text: string }} Option */

/** Names of the adapters at work. @returns {Promise<string[]>} */
export async function adapters() {
	const { workers } = await json("healthz", { workers: [] });
	return [...new Set(workers.map((/** @type {{ adapter: string }} */ { adapter }) => adapter))];
}

/** @param {string} url @param {any} otherwise */
async function json(url, otherwise) {
	try {
		return await (await fetch(url)).json();
	} catch {
		return otherwise;
	}
}
