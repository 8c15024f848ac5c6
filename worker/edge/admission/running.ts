/**
 * The jobs of one account that wait or are being made, wherever their pools are. A job says when it has ended; one that
 * could not say so is asked where its place is wanted, and given up when its time is over.
 */
import type { Env } from "../settings.ts";

const PREFIX = "job ";
/** Of the oldest: whoever asks on and on for more than it may have is not to keep many objects busy. */
const MOST_ASKED = 8;
/** A job that is not there yet may still be about to be made. */
const YOUNG_MS = 60_000;

interface Run {
	since: number;
	until: number;
}

export class Running {
	readonly #env: Env;
	readonly #kv: DurableObjectState["storage"]["kv"];
	readonly #jobs: Map<string, Run>;

	constructor(env: Env, kv: DurableObjectState["storage"]["kv"]) {
		this.#env = env;
		this.#kv = kv;
		this.#jobs = new Map([...kv.list<Run>({ prefix: PREFIX })].map(([key, run]) => [key.slice(PREFIX.length), run]));
	}

	/** Whether so many more may be made, where `most` may at once. */
	async roomFor(more: number, most: number): Promise<boolean> {
		const fits = () => this.#jobs.size + more <= most;
		if (more > most) return false;
		const now = Date.now();
		for (const [job, { until }] of this.#jobs) if (until <= now) this.end([job]);
		if (!fits()) await this.#ask(now);
		return fits();
	}

	/** Whether there may be some yet. */
	any(now: number): boolean {
		return [...this.#jobs.values()].some(({ until }) => until > now);
	}

	begin(jobs: readonly string[], until: number): void {
		for (const job of jobs) {
			const run = { since: Date.now(), until };
			this.#jobs.set(job, run);
			this.#kv.put(PREFIX + job, run);
		}
	}

	/** Which of them there were. */
	end(jobs: readonly string[]): string[] {
		const ended = jobs.filter((job) => this.#jobs.delete(job));
		for (const job of ended) this.#kv.delete(PREFIX + job);
		return ended;
	}

	async #ask(now: number): Promise<void> {
		const { JOB } = this.#env;
		await Promise.allSettled(
			[...this.#jobs].slice(0, MOST_ASKED).map(async ([job, { since }]) => {
				const ended = await JOB.get(JOB.idFromString(job)).ended();
				if (ended ?? now - since > YOUNG_MS) this.end([job]);
			}),
		);
	}
}
