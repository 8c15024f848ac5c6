/** The pictures of this browser as a shelf of small ones. */
import { $, el } from "./dom.ts";
import type { History, Kept } from "./history.ts";
import { subjectOf } from "./run.ts";

export class Gallery {
	#history: History;
	#urls = new Map<number, string>();
	#open: (kept: Kept) => void;

	constructor(history: History, open: (kept: Kept) => void) {
		this.#history = history;
		this.#open = open;
		$("forget").addEventListener("click", async () => {
			await history.clear();
			this.draw();
		});
	}

	draw(): void {
		const { kept } = this.#history;
		$("history-card").hidden = kept.length === 0;
		for (const [id, url] of this.#urls)
			if (!kept.some((one) => one.id === id)) {
				URL.revokeObjectURL(url);
				this.#urls.delete(id);
			}
		$("history").replaceChildren(...kept.map((one) => this.#item(one)));
	}

	#item(one: Kept): HTMLElement {
		const name = `${subjectOf(one.ask)}, seed ${one.ask.seed}, ${one.ask.policy}`;
		const image = el("img", { src: this.#url(one), alt: "", loading: "lazy" });
		const open = el("button", { type: "button", "aria-label": `Show ${name}`, title: name }, image);
		open.addEventListener("click", () => this.#open(one));
		const remove = el("button", { type: "button", class: "remove", "aria-label": `Delete ${name}` }, "×");
		const away = async () => {
			const next = (remove.closest("li")?.nextElementSibling?.firstElementChild ?? null) as HTMLElement | null;
			await this.#history.delete(one.id);
			this.draw();
			next?.focus();
		};
		remove.addEventListener("click", away);
		open.addEventListener("keydown", ({ key }) => key === "Delete" && away());
		return el("li", {}, open, remove);
	}

	#url({ id, picture }: Kept): string {
		const known = this.#urls.get(id) ?? (picture ? URL.createObjectURL(picture) : "");
		this.#urls.set(id, known);
		return known;
	}
}
