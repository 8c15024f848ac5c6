/** The choice of a policy in people's words, each with what was measured of it, and what to compare it with. */
import { $, el, setText } from "./dom.ts";
import type { Model } from "./edge.ts";
import { measuredOn, type Offer, offersOf, type PolicyEntry, tradeInBrief } from "./offers.ts";

export class Choices {
	#offers: Offer[] = [];
	/** What was chosen last, by hand or by a link. */
	#wanted = "exact";
	#compare = $<HTMLSelectElement>("compare");
	#wantedCompare = "";

	constructor() {
		$("speed-card").addEventListener("change", ({ target }) => {
			if (target instanceof HTMLInputElement && target.name === "policy") this.#choose(target.value);
			if (target === this.#compare) this.#wantedCompare = this.#compare.value;
		});
	}

	/** One policy, or the two to compare: first what it is compared with, then the chosen one. */
	get policies(): string[] {
		const chosen = this.policy;
		return this.#compare.value ? [this.#compare.value, chosen] : [chosen];
	}

	get policy(): string {
		return this.#offers.some(({ policy }) => policy === this.#wanted) ? this.#wanted : "exact";
	}

	/** In the words of the choice, else the policy's name. */
	wordFor(policy: string): string {
		return this.#offers.find((offer) => offer.policy === policy)?.word ?? policy;
	}

	want(policy: string | null | undefined, compare?: string | null): void {
		if (policy) this.#wanted = policy;
		if (compare !== undefined && compare !== null) this.#wantedCompare = compare;
		this.#select();
	}

	/** The choices of a model at a schedule. */
	draw(model: Model, schedule: string, policies: readonly PolicyEntry[], adapters: readonly string[]): void {
		this.#offers = offersOf(model, schedule, policies);
		const first = this.#offers.filter(({ word }) => word);
		const others = this.#offers.filter(({ word }) => !word);
		$("choices").replaceChildren(...first.map((offer) => segment(offer)));
		$("all-choices").replaceChildren(...others.map((offer) => row(offer)));
		$("more").hidden = others.length === 0;
		this.#compare.replaceChildren(
			new Option("nothing", ""),
			...this.#offers.map(({ policy, word }) => new Option(word ? `${word} (${policy})` : policy, policy)),
		);
		setText($("choice-note"), measuredOn(model, adapters));
		this.#select();
	}

	#choose(policy: string): void {
		this.#wanted = policy;
		this.#select();
	}

	#select(): void {
		const { policy } = this;
		for (const input of $("speed-card").querySelectorAll<HTMLInputElement>('input[name="policy"]'))
			input.checked = input.value === policy;
		this.#compare.value = this.#wantedCompare;
		if (this.#compare.selectedIndex === -1) this.#compare.value = "";
		const offer = this.#offers.find((offer) => offer.policy === policy);
		setText($("choice-title"), offer ? sentence(offer.title) : "");
	}
}

function radio(policy: string): HTMLInputElement {
	return el("input", { type: "radio", name: "policy", value: policy });
}

function segment({ policy, word, trade, title }: Offer): HTMLElement {
	const small = el("small", {}, trade ? tradeInBrief(trade) : "not measured");
	return el("label", { title }, radio(policy), word ?? policy, small);
}

function row({ policy, trade, title, beatenBy }: Offer): HTMLElement {
	const figures = trade ? tradeInBrief(trade) : "not measured";
	const beaten = beatenBy ? ` ${beatenBy} is at least as good and as fast.` : "";
	return el(
		"label",
		{},
		radio(policy),
		policy,
		el("span", {}, figures),
		el("small", {}, `${sentence(title)}${beaten}`),
	);
}

function sentence(text: string): string {
	return text.endsWith(".") ? text : `${text}.`;
}
