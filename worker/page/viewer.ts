/** What is on the table: one picture, or two that are compared, with their scales and where the time went. */
import { Wipe, whileHeld } from "./comparison.ts";
import { $, el, setText } from "./dom.ts";
import type { Model } from "./edge.ts";
import { Filmstrip } from "./filmstrip.ts";
import { Paper } from "./paper.ts";
import { current, executed, type Run, sizeName, subjectOf, trunkInWords } from "./run.ts";
import { type Reference, TimeCard } from "./time-card.ts";
import { clock, seconds } from "./units.ts";

const PLAY_MS = 450;

export class Viewer {
	/** One run, or the two that are compared. */
	runs: Run[] = [];
	/** The scale looked at; undefined follows the picture as it is made. */
	frame: number | undefined;
	#papers = [new Paper($<HTMLImageElement>("picture")), new Paper($<HTMLImageElement>("picture-b"))];
	#film: Filmstrip;
	#time: TimeCard;
	readonly wipe = new Wipe();
	#model: Model | undefined;
	#schedule = "";
	#playing: AbortController | undefined;
	/** Whether the next frame draws. */
	#due = false;

	constructor(reference: Reference) {
		this.#film = new Filmstrip($("film"), (index) => this.look(index));
		this.#time = new TimeCard(reference);
		$("play").addEventListener("click", () => this.play());
		whileHeld($("hold"), (held) => this.#hold(held));
	}

	/** The run whose scales and time are shown: of two, the one that is being made, or the second. */
	get run(): Run | undefined {
		return this.runs.find(({ state }) => state === "running" || state === "waiting") ?? this.runs.at(-1);
	}

	/** What an empty table shows. */
	setModel(model: Model, schedule: string): void {
		[this.#model, this.#schedule] = [model, schedule];
		this.draw();
	}

	/** Puts runs on the table, each as far as it is. */
	show(...runs: Run[]): void {
		this.#playing?.abort();
		this.runs = runs;
		this.frame = undefined;
		const comparing = runs.length === 2;
		document.body.dataset.view = comparing ? "compare" : "one";
		$("print-b").hidden = !comparing;
		$("comparison").hidden = true;
		if (comparing) this.wipe.begin();
		else this.wipe.end();
		for (const [i, paper] of this.#papers.entries()) {
			const run = runs.at(i);
			paper.clear(run ? subjectOf(run.ask) + (comparing ? `, ${run.ask.policy}` : "") : "");
			if (run) this.#showNewest(run, false);
		}
		this.draw();
	}

	/** A run has changed. */
	changed(run: Run): void {
		if (!this.runs.includes(run)) return;
		const shown = this.frame === undefined ? this.#showNewest(run, true) : undefined;
		// The picture itself goes first: a frame of the page would keep it waiting.
		if (shown) void shown.then(() => this.#drawSoon());
		else this.#drawSoon();
	}

	/** Once in the next frame, whatever came until then. */
	#drawSoon(): void {
		if (this.#due) return;
		const draw = () => {
			this.#due = false;
			this.draw();
		};
		this.#due = true;
		// A page that nobody sees has no frames.
		if (document.hidden) queueMicrotask(draw);
		else requestAnimationFrame(draw);
	}

	/** Looks at the picture of one scale; that of the last one is the finished picture. */
	look(index: number): void {
		this.#playing?.abort();
		this.#put(index);
	}

	/** Every scale once more, one after the other. */
	async play(): Promise<void> {
		this.#playing?.abort();
		const { signal } = (this.#playing = new AbortController());
		for (const { index } of this.run?.frames ?? []) {
			this.#put(index);
			await new Promise((resolve) => setTimeout(resolve, PLAY_MS));
			if (signal.aborted) return;
		}
		this.frame = undefined;
		for (const run of this.runs) this.#showNewest(run, true);
		this.draw();
	}

	/** Everything that changes with time alone. */
	tick(): void {
		const { run } = this;
		this.#sayTime();
		if (run?.state === "running") this.#time.draw(run, this.#model?.blocks, this.#exact(run));
	}

	#sayTime(): void {
		const { run } = this;
		if (!run) return;
		const now = current(run);
		if (run.state === "waiting" || run.state === "running") {
			const all = executed(run);
			const place = now === undefined ? all.length : all.indexOf(now) + 1;
			const size = now === undefined ? "" : ` · ${sizeName(run.grids[now])}`;
			const scale = all.length > 0 ? `scale ${place} of ${all.length}${size} · ` : "";
			setText($("clock"), scale + clock(performance.now() - run.begun));
			document.title = `${all.length > 0 ? `${run.frames.length}/${all.length} ` : "… "}${subjectOf(run.ask)}`;
		} else {
			setText($("clock"), run.took === undefined ? "" : clock(run.took));
			document.title = run.state === "done" ? `✓ ${subjectOf(run.ask)}` : "Firstlight";
		}
	}

	draw(): void {
		const { run } = this;
		const grids = this.#model?.schedules[this.#schedule]?.grids ?? [];
		const image = this.#model?.schedules[this.#schedule]?.image;
		const [width, height] = run?.plan ? [run.width, run.height] : [image?.width ?? 1, image?.height ?? 1];
		$("pictures").style.setProperty("--aspect", String(width / height));
		// The finished picture is that of the last scale.
		const shown = this.frame ?? (run?.state === "done" ? run.frames.at(-1)?.index : undefined);
		this.#film.draw(run, grids, shown);
		this.#time.draw(run, this.#model?.blocks, run && this.#exact(run));
		const first = this.runs.at(0);
		$("blank").hidden = (first?.frames.length ?? 0) > 0 || first?.picture !== undefined;
		$("blank-b").hidden = (this.runs[1]?.frames.length ?? 0) > 0;
		$("caption").textContent = run ? captionOf(this.runs, 0) : "";
		$("caption-b").textContent = this.runs.length === 2 ? captionOf(this.runs, 1) : "";
		const done = run?.state === "done" && this.runs.every(({ state }) => state === "done");
		const sketch = run?.ask.until !== undefined;
		const comparing = this.runs.length === 2;
		$("actions").hidden = !done;
		$("finish").hidden = !sketch;
		for (const id of ["siblings", "another"]) $(id).hidden = sketch || comparing;
		$("hold").hidden = comparing;
		for (const id of ["download-menu", "copy-menu"]) $(id).hidden = sketch;
		$("hold").textContent = `Hold for ${this.#heldName()}`;
		this.#drawFacts(done && !sketch ? run : undefined);
		this.#sayTime();
	}

	#drawFacts(run: Run | undefined): void {
		$("details").hidden = !run?.facts;
		if (!run?.facts || $("facts").dataset.of === run.facts.sha256) return;
		const { facts, ask, trunk } = run;
		$("facts").dataset.of = facts.sha256;
		const all = {
			seed: facts.seed,
			...(trunk && { "first scales": trunkInWords(trunk) }),
			policy: run.plan?.policy ?? ask.policy,
			model: run.model,
			size: `${facts.width}×${facts.height}`,
			adapter: facts.adapter,
			"on the worker": seconds(facts.milliseconds),
			digest: facts.digest,
			numerics: facts.numerics,
			"SHA-256": facts.sha256,
		};
		$("facts").replaceChildren(
			...Object.entries(all).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]),
		);
	}

	/** Of two that are compared, the exact one. */
	#exact(run: Run): Run | undefined {
		return this.runs.length === 2 && this.runs[1] === run && this.runs[0].ask.policy === "exact"
			? this.runs[0]
			: undefined;
	}

	#put(index: number): void {
		this.frame = index;
		for (const [i, run] of this.runs.entries()) {
			const last = run.state === "done" && index === run.frames.at(-1)?.index;
			const frame = run.frames.find((frame) => frame.index === index);
			const blob = last ? run.picture : frame?.blob;
			if (blob) this.#papers[i].show(blob, last ? "final" : String(index));
		}
		this.draw();
	}

	/** Settles when it lies there; undefined where it does already. */
	#showNewest(run: Run, fade: boolean): Promise<void> | undefined {
		const paper = this.#papers[this.runs.indexOf(run)];
		const frame = run.frames.at(-1);
		const scale = run.picture ? "final" : frame && String(frame.index);
		const blob = run.picture ?? frame?.blob;
		if (blob && scale !== undefined && paper.sheet.dataset.scale !== scale) return paper.show(blob, scale, fade);
	}

	/** While held: the finished picture, or where that is shown already, what the exact scales had settled. */
	#hold(held: boolean): void {
		const { run } = this;
		if (run?.state !== "done" || !run.picture) return;
		const other = this.#held();
		const chosen = run.frames.find(({ index }) => index === this.frame);
		const lastShown = this.frame === undefined || chosen === run.frames.at(-1);
		const [own, ownScale] = lastShown ? [run.picture, "final"] : [chosen?.blob, String(this.frame)];
		const [blob, scale] = held ? other : [own, ownScale];
		if (blob) this.#papers[0].show(blob, scale, false);
	}

	#held(): [Blob | null | undefined, string] {
		const run = this.run as Run;
		const last = run.frames.at(-1)?.index;
		if (this.frame !== undefined && this.frame !== last) return [run.picture, "final"];
		const settled = run.frames.findLast(({ stage, index }) => stage !== "fidelity" && index !== last) ?? run.frames[0];
		return [settled?.blob, String(settled?.index)];
	}

	#heldName(): string {
		if (!this.run) return "another scale";
		const [, scale] = this.#held();
		const grid = this.run.grids.at(Number(scale));
		return scale === "final" || !grid ? "the finished picture" : sizeName(grid);
	}
}

function captionOf(runs: readonly Run[], which: number): string {
	const run = runs[which];
	if (runs.length === 2) return run.ask.policy;
	const sketch = run.ask.until === undefined ? "" : "Sketch: ";
	return sketch + subjectOf(run.ask);
}
