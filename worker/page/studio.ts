/** Where pictures are made: one piece of work at a time, which Stop stops and a further one takes the place of. */
import type { JobEvent } from "../protocol/job.ts";
import { trunkOf } from "../protocol/trunk.ts";
import { compare } from "./comparison.ts";
import type { Ask, Model } from "./edge.ts";
import { STAGES } from "./filmstrip.ts";
import type { Waiting } from "./follow.ts";
import { make, type Source, type Watch } from "./maker.ts";
import { current, newRun, type Run } from "./run.ts";
import { linkOf } from "./share.ts";
import { announce, finishedInWords, sayQueue, sayWaiting, setState } from "./status.ts";
import type { Tiles } from "./tiles.ts";
import { randomSeed, seconds } from "./units.ts";
import type { Viewer } from "./viewer.ts";

/** Streams at once: a browser opens six connections to a host, and some must be left. */
const TOGETHER = 4;
/** Each look costs the key one of its requests, of which the default is 60 a minute. */
const QUEUE_MS = 3000;
const SKETCHES = 9;
const SIBLINGS = 4;

export interface Room {
	viewer: Viewer;
	tiles: Tiles;
	/** Resolves when there is a model. */
	prepare(signal: AbortSignal): Promise<void>;
	/** Where pictures are made; undefined for the edge's workers. */
	source(): Source | undefined;
	/** The chosen one, once it is known. */
	model(): Model | undefined;
	/** Keeps a finished picture. */
	keep(run: Run): Promise<void>;
}

export class Studio {
	/** While pictures are being made. */
	#running: AbortController | undefined;
	/** A sketch of what is being typed. */
	#sketching: AbortController | undefined;
	#room: Room;

	constructor(room: Room) {
		this.#room = room;
	}

	get running(): boolean {
		return this.#running !== undefined;
	}

	get busy(): boolean {
		return this.running || this.#sketching !== undefined;
	}

	stop(): void {
		this.#running?.abort();
	}

	/** Ends whatever is being made and says nothing more of it: something else is shown. */
	leave(): void {
		this.stop();
		this.stopSketch();
		this.#running = undefined;
		this.waiting(null);
	}

	/** Does one piece of work, once a worker and its models are there. */
	async begin(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
		this.stop();
		this.stopSketch();
		const abort = (this.#running = new AbortController());
		setState("running");
		announce("Waiting for a GPU worker.");
		try {
			await this.#room.prepare(abort.signal);
			abort.signal.throwIfAborted();
			await work(abort.signal);
			if (this.#running === abort) setState("done");
		} catch (error) {
			// Another picture has taken its place.
			if (this.#running !== abort) return;
			this.waiting(null);
			announce(abort.signal.aborted ? "Stopped." : (error as Error).message);
			setState(abort.signal.aborted ? "idle" : "error");
			this.#room.viewer.draw();
		} finally {
			if (this.#running === abort) this.#running = undefined;
			this.#room.viewer.tick();
		}
	}

	async single(ask: Ask, signal: AbortSignal, trunk?: Run["trunk"], source?: Source): Promise<void> {
		const run = newRun(ask, trunk);
		this.#room.tiles.forget();
		this.#room.viewer.show(run);
		address(run);
		await this.#made(run, signal, source);
	}

	/** Pictures of one seed, one after the other: together they would share the GPU, and neither time be its own. */
	async compared(ask: Ask, policies: readonly string[], signal: AbortSignal): Promise<void> {
		const runs = policies.map((policy) => newRun({ ...ask, policy }));
		this.#room.tiles.forget();
		this.#room.viewer.show(...runs);
		address(runs[1], runs[0].ask.policy);
		for (const run of runs) {
			run.begun = performance.now();
			await this.#made(run, signal);
		}
		announce(await compare(runs, this.#room.model(), signal));
		this.#room.viewer.wipe.ready();
	}

	/** Other seeds beside the asked one, as whole pictures. */
	several(ask: Ask, count: number, signal: AbortSignal): Promise<void> {
		const seeds = [ask.seed, ...Array.from({ length: count - 1 }, () => String(randomSeed()))];
		const runs = seeds.map((seed) => newRun({ ...ask, seed }));
		return this.#many(runs, signal);
	}

	/** Nine seeds up to the scale `until`; from there on any of them can be finished. */
	sketches(ask: Ask, until: number, signal: AbortSignal): Promise<void> {
		const seeds = [ask.seed, ...Array.from({ length: SKETCHES - 1 }, () => String(randomSeed()))];
		const runs = seeds.map((seed) => newRun({ ...ask, seed, policy: "exact", until: String(until) }));
		return this.#many(runs, signal);
	}

	/** The whole picture of a sketch, from its own scales. */
	async finish(sketch: Run, policy: string, signal: AbortSignal): Promise<void> {
		const { until, ...ask } = sketch.ask;
		const run = newRun({ ...ask, policy, from: sketch.job, scales: String(Number(until) + 1) });
		this.#room.viewer.show(run);
		address(run);
		await this.#made(run, signal);
	}

	/** More pictures that share so many first scales with this one, and differ in what comes after. */
	siblings(run: Run, scales: number, signal: AbortSignal): Promise<void> {
		const trunk = trunkOf({ seed: run.ask.seed, trunk: run.trunk }, scales);
		const others = Array.from({ length: SIBLINGS }, () =>
			newRun({ ...askedAgain(run.ask), seed: String(randomSeed()), from: run.job, scales: String(scales) }, trunk),
		);
		return this.#many(others, signal);
	}

	stopSketch(): void {
		this.#sketching?.abort();
	}

	/** A sketch of what is being typed, in place of the one before. It is nobody's work: it says and keeps nothing. */
	async sketch(ask: Ask): Promise<void> {
		this.stopSketch();
		const { viewer, tiles } = this.#room;
		const abort = (this.#sketching = new AbortController());
		const run = newRun(ask);
		tiles.forget();
		viewer.show(run);
		announce("");
		setState("idle");
		try {
			const quiet: Watch = { changed: () => viewer.changed(run), waiting: () => {} };
			await make(run, abort.signal, quiet, this.#room.source());
		} catch (error) {
			if (!abort.signal.aborted) announce((error as Error).message);
		} finally {
			if (this.#sketching === abort) this.#sketching = undefined;
			viewer.changed(run);
		}
	}

	waiting = (state: Waiting | null): void => sayWaiting(state, this.running);

	#watch: Watch = {
		changed: (run: Run, event: JobEvent): void => {
			const { viewer, tiles } = this.#room;
			viewer.changed(run);
			tiles.changed(run);
			if (event.type !== "scale" || !viewer.runs.includes(run)) return;
			const say = (text: string) => announce(viewer.runs.length === 2 ? `${run.ask.policy}: ${text}` : capital(text));
			const next = run.plan?.steps[current(run) ?? -1];
			if (run.frames.length === 1) say(`first preview after ${seconds(run.preview ?? 0)}.`);
			else if (next?.kind === "run" && next.stage !== event.stage) say(`now ${STAGES[next.stage]}.`);
		},
		waiting: (state) => this.waiting(state),
	};

	/** A run to its end, shown and kept. */
	async #made(run: Run, signal: AbortSignal, source = this.#room.source()): Promise<void> {
		const queue = source ? undefined : setInterval(() => sayQueue(run), QUEUE_MS);
		try {
			await make(run, signal, this.#watch, source);
		} finally {
			clearInterval(queue);
		}
		announce(finishedInWords(run));
		await this.#room.keep(run);
		// Other work may have taken its place meanwhile, and nothing more is done for this one.
		signal.throwIfAborted();
		this.#room.viewer.changed(run);
	}

	/** Runs in tiles, some at once. One that fails does not stop the others; where all do, that is said. */
	async #many(runs: Run[], signal: AbortSignal): Promise<void> {
		const { viewer, tiles } = this.#room;
		viewer.show();
		tiles.begin(runs);
		address(runs[0]);
		const left = [...runs];
		const failures: unknown[] = [];
		const one = async () => {
			for (let run = left.shift(); run; run = left.shift()) {
				run.begun = performance.now();
				run.together = true;
				try {
					await make(run, signal, this.#watch, this.#room.source());
					await this.#room.keep(run);
				} catch (error) {
					failures.push(error);
				}
				signal.throwIfAborted();
				tiles.changed(run);
				announce(`${runs.filter(({ state }) => state === "done").length} of ${runs.length} are there.`);
			}
		};
		await Promise.all(Array.from({ length: TOGETHER }, one));
		if (failures.length === runs.length) throw failures[0];
		announce(`Choose one of the ${runs.length}.`);
	}
}

/** What can be asked again of what was asked: without what holds for one picture alone. */
export function askedAgain({ from: _, scales: __, until: ___, ...ask }: Ask): Ask {
	return ask;
}

/** The address of the page is that of what it shows; the reader of a link decides when to generate. */
export function address(run: Run, comparedWith?: string): void {
	const url = linkOf({ ask: run.ask, trunk: run.trunk });
	if (comparedWith) url.searchParams.set("compare", comparedWith);
	history.replaceState(null, "", url);
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
