/** Several pictures at once, each in a tile: sketches to choose from, siblings, or simply more than one. */
import { $, el } from "./dom.ts";
import { Paper } from "./paper.ts";
import { type Run, subjectOf } from "./run.ts";

export class Tiles {
	runs: Run[] = [];
	#tiles = new Map<Run, { button: HTMLButtonElement; paper: Paper; place: HTMLElement }>();
	#open: (run: Run) => void;

	/** `open`: a tile was chosen. */
	constructor(open: (run: Run) => void) {
		this.#open = open;
	}

	/** Shows a tile for each run, in place of the one picture. */
	begin(runs: Run[]): void {
		this.#clear();
		this.runs = runs;
		const across = Math.ceil(Math.sqrt(runs.length));
		const list = $("tiles");
		list.style.setProperty("--across", String(across));
		this.#tiles = new Map(
			runs.map((run, i) => {
				const image = el("img", { alt: "", hidden: true, draggable: "false" });
				const place = el("span", {}, "…");
				const name = `Picture ${i + 1} of ${runs.length}: ${subjectOf(run.ask)}, seed ${run.ask.seed}`;
				const button = el(
					"button",
					{ type: "button", "aria-label": name, title: `Seed ${run.ask.seed}`, disabled: true },
					image,
					place,
				);
				button.addEventListener("click", () => this.#open(run));
				return [run, { button, paper: new Paper(image), place }];
			}),
		);
		list.replaceChildren(...[...this.#tiles.values()].map(({ button }) => el("li", {}, button)));
		this.show();
	}

	show(): void {
		document.body.dataset.view = "tiles";
		$("tiles").hidden = false;
		for (const id of ["papers", "film", "actions", "comparison", "compare-tools", "details"]) $(id).hidden = true;
		$("back").hidden = true;
		for (const run of this.runs) this.changed(run);
	}

	/** One of them is put on the table; the others can be had back. */
	hide(): void {
		$("tiles").hidden = true;
		for (const id of ["papers", "film"]) $(id).hidden = false;
		$("back").hidden = this.runs.length === 0;
	}

	forget(): void {
		this.runs = [];
		this.#clear();
		$("tiles").replaceChildren();
		this.hide();
	}

	/** A picture's bytes stay for as long as an address of them does. */
	#clear(): void {
		for (const { paper } of this.#tiles.values()) paper.clear("");
		this.#tiles.clear();
	}

	changed(run: Run): void {
		const tile = this.#tiles.get(run);
		if (!tile) return;
		const blob = run.picture ?? run.frames.at(-1)?.blob;
		const scale = run.picture ? "final" : String(run.frames.at(-1)?.index);
		tile.button.disabled = !blob;
		if (blob && tile.paper.sheet.dataset.scale !== scale) {
			tile.paper.show(blob, scale);
			tile.place.hidden = true;
		} else if (run.state === "failed") tile.place.textContent = "failed";
	}
}
