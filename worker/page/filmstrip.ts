/** Every preview of a picture, side by side: to look at again, step through, and play. */
import type { Stage } from "../protocol/plan.ts";
import { el } from "./dom.ts";
import { current, executed, type Frame, type Run, sizeName } from "./run.ts";
import { briefly } from "./units.ts";

export const STAGES: Record<Stage, string> = { semantic: "meaning", structure: "structure", fidelity: "detail" };

interface Look {
	grid: readonly number[];
	frame: Frame | undefined;
	stage: Stage | undefined;
	state: "done" | "skipped" | "now" | "waiting";
	shown: boolean;
	/** The one frame that Tab comes to. */
	tabbed: boolean;
}

/** Reads as one set of buttons of which one is chosen: arrows, Home and End go from one to the next. */
export class Filmstrip {
	#list: HTMLElement;
	#chosen: (index: number) => void;
	#urls = new Map<Blob, string>();
	#drawn = new WeakMap<Element, string>();

	constructor(list: HTMLElement, chosen: (index: number) => void) {
		this.#list = list;
		this.#chosen = chosen;
		list.addEventListener("click", ({ target }) => {
			const button = (target as Element).closest("button");
			if (button) this.#choose(button);
		});
		list.addEventListener("keydown", (event) => {
			const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
			if (step === undefined) return;
			event.preventDefault();
			this.step(step);
		});
	}

	/** One frame for each scale of the run; before its plan, those of the grids that the model will have. */
	draw(run: Run | undefined, grids: readonly (readonly number[])[], shown: number | undefined): void {
		const frames = new Map(run?.frames.map((frame) => [frame.index, frame]));
		const sizes = run?.plan ? run.grids : grids;
		const now = run && current(run);
		const runs = run?.plan ? executed(run) : undefined;
		const tabbed = shown ?? run?.frames.at(-1)?.index;
		const used = new Set<Blob>();
		while (this.#list.children.length > sizes.length) this.#list.lastElementChild?.remove();
		for (const [index, grid] of sizes.entries()) {
			const frame = frames.get(index);
			if (frame?.blob) used.add(frame.blob);
			const step = run?.plan?.steps[index];
			this.#put(index, {
				grid,
				frame,
				stage: frame?.stage ?? (step?.kind === "run" ? step.stage : undefined),
				state: frame ? "done" : runs && !runs.includes(index) ? "skipped" : index === now ? "now" : "waiting",
				shown: index === shown,
				tabbed: index === tabbed,
			});
		}
		for (const [blob, url] of this.#urls)
			if (!used.has(blob)) {
				URL.revokeObjectURL(url);
				this.#urls.delete(blob);
			}
	}

	/** Puts a frame in its place, unless it is there already: a picture that is not touched does not flicker. */
	#put(index: number, look: Look): void {
		const { grid, frame, stage, state, shown, tabbed } = look;
		const url = frame?.blob ? this.#url(frame.blob) : "";
		const drawn = JSON.stringify([grid, stage, state, shown, tabbed, url, frame?.milliseconds]);
		const before = this.#list.children[index] as HTMLElement | undefined;
		if (before && this.#drawn.get(before) === drawn) return;
		const time = frame
			? briefly(frame.milliseconds)
			: { skipped: "left out", now: "now", waiting: "", done: "" }[state];
		const cell = el("span", { class: "cell", "--columns": grid[1], "--rows": grid[0] });
		if (url) cell.append(el("img", { src: url, alt: "", draggable: "false" }));
		const parts = [
			cell,
			el("b", {}, sizeName(grid)),
			el("span", { class: "unseen" }, stage ? `, ${STAGES[stage]}, ` : " "),
			el("span", { class: "time" }, time || "\u00a0"),
		];
		const button = {
			type: "button",
			"data-index": index,
			"aria-current": shown ? "true" : undefined,
			tabindex: tabbed ? 0 : -1,
		};
		const item = el(
			"li",
			{ "data-index": index, "data-state": state, "data-stage": stage },
			url ? el("button", button, ...parts) : el("span", { class: "frame" }, ...parts),
		);
		this.#drawn.set(item, drawn);
		const focused = before?.contains(document.activeElement);
		if (before) before.replaceWith(item);
		else this.#list.append(item);
		if (focused) item.querySelector("button")?.focus({ preventScroll: true });
	}

	/** The next frame there is a picture of, in that direction. */
	step(by: number): void {
		const buttons = [...this.#list.querySelectorAll<HTMLButtonElement>("button")];
		if (buttons.length === 0) return;
		const at = buttons.findIndex((button) => button.getAttribute("aria-current") === "true");
		const to = Math.max(0, Math.min(buttons.length - 1, at === -1 ? buttons.length - 1 + by : at + by));
		buttons[to].focus({ preventScroll: true });
		this.#choose(buttons[to]);
	}

	#choose(button: HTMLButtonElement): void {
		this.#chosen(Number(button.dataset.index));
	}

	#url(blob: Blob): string {
		const known = this.#urls.get(blob) ?? URL.createObjectURL(blob);
		this.#urls.set(blob, known);
		return known;
	}
}
