/** Pictures of this browser: kept here, in IndexedDB, and nowhere else. */
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { StagePlan } from "../protocol/plan.ts";
import type { Run } from "./run.ts";
import { allowed } from "./storage.ts";
import { isExact } from "./work.ts";

/** A finished run, as it is stored. */
export type Kept = Pick<
	Run,
	| "ask"
	| "trunk"
	| "together"
	| "job"
	| "model"
	| "plan"
	| "grids"
	| "width"
	| "height"
	| "frames"
	| "facts"
	| "picture"
	| "unknown"
> & { id: number; when: number; took: number };

interface Shelf extends DBSchema {
	pictures: { key: number; value: Kept; indexes: { when: number } };
}

/** The oldest ones make room. */
const MOST = 60;

export class History {
	/** Undefined where the browser keeps nothing, as in a private window: what is made is shown all the same. */
	#db: Promise<IDBPDatabase<Shelf> | undefined>;
	/** Newest first. */
	kept: Kept[] = [];

	constructor() {
		const upgrade = (db: IDBPDatabase<Shelf>) => {
			db.createObjectStore("pictures", { keyPath: "id", autoIncrement: true }).createIndex("when", "when");
		};
		const opening = allowed(() => openDB<Shelf>("firstlight", 1, { upgrade }));
		this.#db = Promise.resolve(opening).catch(() => undefined);
	}

	async load(): Promise<void> {
		const db = await this.#db;
		if (db) this.kept = (await db.getAllFromIndex("pictures", "when")).reverse();
	}

	/** Keeps a finished picture; sketches are not kept. */
	async add(run: Run): Promise<Kept | undefined> {
		if (run.state !== "done" || run.ask.until !== undefined) return undefined;
		const { ask, trunk, together, job, model, plan, grids, width, height, frames, facts, picture, unknown } = run;
		const of = { ask, trunk, together, job, model, plan, grids, width, height, frames, facts, picture, unknown };
		const record = { ...of, when: Date.now(), took: run.took ?? 0 };
		const db = await this.#db;
		let id = -Date.now();
		try {
			if (db) id = await db.add("pictures", record as Kept);
		} catch {
			// No room left: it is shown, and gone with the page.
		}
		const kept = { ...record, id };
		this.kept.unshift(kept);
		for (const old of this.kept.slice(MOST)) await this.delete(old.id);
		return kept;
	}

	async delete(id: number): Promise<void> {
		this.kept = this.kept.filter((kept) => kept.id !== id);
		await (await this.#db)?.delete("pictures", id);
	}

	async clear(): Promise<void> {
		this.kept = [];
		await (await this.#db)?.clear("pictures");
	}

	/** Milliseconds by scale of exact, the median of what was seen here of this model, schedule and adapter. */
	exactTimes({ model, schedule }: StagePlan, adapter: string | undefined): number[] | undefined {
		const runs = this.kept.filter(
			({ plan, facts, trunk, together }) =>
				plan?.model === model &&
				plan.schedule === schedule &&
				plan.steps.every(isExact) &&
				!trunk &&
				!together &&
				(adapter === undefined || facts?.adapter === adapter),
		);
		const latest = runs.slice(0, 5).filter(({ frames, plan }) => frames.length === plan?.steps.length);
		if (latest.length === 0) return undefined;
		return latest[0].frames.map((_, index) => {
			const times = latest.map(({ frames }) => frames[index].milliseconds).sort((a, b) => a - b);
			return times[times.length >> 1];
		});
	}
}

/** A stored picture as a run that has ended. */
export function runOf(kept: Kept): Run {
	return { ...kept, state: "done", begun: 0, at: 0 };
}
