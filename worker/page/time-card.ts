/** Where the time goes: bars as long as the time, stage by stage, with exact's behind, and what was saved in words. */
import type { Stage, StagePlan } from "../protocol/plan.ts";
import { $, el, setText } from "./dom.ts";
import { STAGES } from "./filmstrip.ts";
import { current, executed, measured, type Run, sizeName } from "./run.ts";
import { briefly, clock, percent } from "./units.ts";
import { isExact, predict, predictExact, work } from "./work.ts";

/** Exact's milliseconds by scale, where this browser has seen them on the same model, schedule and adapter. */
export type Reference = (plan: StagePlan, adapter: string | undefined) => number[] | undefined;

/** A bar: its scales with how long each is, and what that means. */
interface Bar {
	parts: { length: number; stage: Stage; grid: readonly number[]; state: "done" | "now" | "ahead" }[];
	total: number;
	/** Whether lengths are milliseconds. Before the first scale is measured they are its work on paper, in no unit. */
	timed: boolean;
}

export class TimeCard {
	#reference: Reference;
	constructor(reference: Reference) {
		this.#reference = reference;
	}

	/** Called for every event of the run, and a few times a second while it runs. `exact`: exact's own run beside it. */
	draw(run: Run | undefined, blocks: number | undefined, exact?: Run): void {
		$("time-card").dataset.state = run?.plan ? "plan" : "none";
		if (!run?.plan) {
			for (const id of ["bar", "ghost"]) $(id).replaceChildren();
			for (const id of ["bar-time", "ghost-time", "saving"]) setText($(id), "");
			$("ghost-row").hidden = true;
			return;
		}
		const bar = barOf(run, blocks);
		const ghost = this.#ghost(run, blocks, exact);
		// Two lengths that are not of one unit are not drawn to one scale.
		const longest = Math.max(bar.timed ? bar.total : 0, ghost?.total ?? 0, 1);
		setText($("bar-name"), `This picture, ${run.plan.policy}`);
		setText($("bar-time"), bar.timed ? `${run.state === "done" ? "" : "about "}${clock(bar.total)}` : "");
		drawBar($("bar"), bar, bar.timed ? longest : Math.max(bar.total, 1));
		$("ghost-row").hidden = ghost === undefined;
		if (ghost) {
			setText($("ghost-name"), `All scales exact, ${ghost.known ? "measured here" : "predicted"}`);
			setText($("ghost-time"), clock(ghost.total));
			drawBar($("ghost"), ghost, longest);
		}
		setText($("saving"), savingInWords(run, bar, ghost));
	}

	#ghost(run: Run, blocks: number | undefined, exact: Run | undefined): (Bar & { known: boolean }) | undefined {
		const plan = run.plan as StagePlan;
		// A plan that leaves nothing out has nothing to be compared with; a sketch is no picture yet.
		const whole = run.ask.until === undefined;
		if (!whole || (!exact && plan.steps.every(isExact))) return undefined;
		const other = exact?.state === "done" ? barOf(exact, blocks).parts.map(({ length }) => length) : undefined;
		const seen = other ?? this.#reference(plan, run.facts?.adapter);
		const times = seen ?? predictExact(plan, run.grids, blocks, measured(run));
		if (!times) return undefined;
		const parts = times.map((length, index) => {
			const step = plan.steps[index];
			const stage: Stage = step.kind === "run" ? step.stage : "fidelity";
			return { length, stage, grid: run.grids[index], state: "done" as const };
		});
		return { parts, total: times.reduce((sum, time) => sum + time, 0), timed: true, known: seen !== undefined };
	}
}

export function barOf(run: Run, blocks: number | undefined): Bar {
	const { steps } = run.plan as StagePlan;
	const done = measured(run);
	const works = steps.map((step, index) => work(step, run.grids[index], blocks));
	const times = predict(works, done);
	const now = current(run);
	const parts = executed(run).map((index) => {
		const step = steps[index];
		const state = done.has(index) ? "done" : index === now ? "now" : "ahead";
		const running = state === "now" && run.state === "running" ? performance.now() - run.at : 0;
		return {
			length: times ? Math.max(times[index], running) : works[index],
			stage: step.kind === "run" ? step.stage : "fidelity",
			grid: run.grids[index],
			state,
		} as Bar["parts"][number];
	});
	return { parts, total: parts.reduce((sum, { length }) => sum + length, 0), timed: times !== undefined };
}

function drawBar(list: HTMLElement, { parts, timed }: Bar, longest: number): void {
	while (list.children.length > parts.length) list.lastElementChild?.remove();
	for (const [index, { length, stage, grid, state }] of parts.entries()) {
		const item = (list.children[index] as HTMLElement | undefined) ?? list.appendChild(el("li"));
		Object.assign(item.dataset, { stage, state });
		item.style.setProperty("--share", String(length / longest));
		const time = timed ? `, ${state === "done" ? "" : "about "}${briefly(length)}` : "";
		item.title = `${sizeName(grid)}, ${STAGES[stage]}${time}`;
		setText(item.firstElementChild ?? item.appendChild(el("span", { class: "unseen" })), item.title);
	}
}

function savingInWords(run: Run, bar: Bar, ghost: (Bar & { known: boolean }) | undefined): string {
	const share = (stages: Stage[]) =>
		bar.parts.reduce((sum, part) => sum + (stages.includes(part.stage) ? part.length : 0), 0) / bar.total;
	const early = percent(share(["semantic", "structure"]));
	if (run.ask.until !== undefined) return "A sketch: only early scales, which settle what the picture shows.";
	if (run.state !== "done") return "";
	if (!ghost) return `Meaning and structure took ${early} of the time; the rest went into detail.`;
	const saved = ghost.total - bar.total;
	const about = ghost.known ? "" : "about ";
	const faster = `${percent(Math.abs(saved) / ghost.total)} of exact's time`;
	return saved >= 0
		? `Saved ${about}${briefly(saved)}, ${faster}. Meaning and structure took ${early} of what was left.`
		: `Took ${about}${briefly(-saved)} longer than exact, ${faster}.`;
}
