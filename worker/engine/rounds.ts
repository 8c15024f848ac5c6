import type { Family, Step } from "./round/model.ts";
import type { RgbImage } from "./types.ts";

export interface StepResult {
	codes: Uint8Array<ArrayBuffer> | null;
	pictures: RgbImage[];
	/** Wall-clock milliseconds of the round the step was part of: transformer and sampling, then pictures. */
	milliseconds: { transformer: number; preview: number };
}
interface Waiting<Job> {
	step: Step<Job>;
	signal: AbortSignal;
	resolve(result: StepResult): void;
	reject(error: unknown): void;
}

/**
 * Runs the steps of many jobs together: whatever waits when a round begins is in it, one step a job. So jobs join at a
 * scale's end and leave when they are done, whatever their plans, and a job alone is a batch of one.
 */
export class Rounds<Job> {
	#family: Family<Job>;
	#waiting: Waiting<Job>[] = [];
	#running = false;
	/** When the device finished what was submitted last. */
	#idleSince = 0;
	#free: number;
	#queue: (() => void)[] = [];

	constructor(family: Family<Job>) {
		this.#family = family;
		this.#free = family.slots;
	}

	/** Waits for one of the family's slots. Give it back with `leave`. */
	async enter(): Promise<void> {
		if (this.#free > 0) this.#free--;
		else await new Promise<void>((resolve) => this.#queue.push(resolve));
	}

	leave(): void {
		const next = this.#queue.shift();
		if (next) next();
		else this.#free++;
	}

	/**
	 * Runs a step in one of the next rounds, in order with the job's other steps. Rejects with the signal's reason when
	 * it comes first.
	 */
	run(step: Step<Job>, signal: AbortSignal): Promise<StepResult> {
		return new Promise((resolve, reject) => {
			this.#waiting.push({ step, signal, resolve, reject });
			if (!this.#running) this.#loop();
		});
	}

	async #loop(): Promise<void> {
		this.#running = true;
		while (this.#waiting.length > 0) {
			// Jobs that finished a scale together ask for their next one together.
			await new Promise((resolve) => setImmediate(resolve));
			const batch = this.#next();
			if (batch.length > 0) await this.#round(batch);
		}
		this.#running = false;
	}

	/** The oldest step of each job, as many as one round takes. */
	#next(): Waiting<Job>[] {
		for (const waiting of this.#waiting) if (waiting.signal.aborted) waiting.reject(waiting.signal.reason);
		this.#waiting = this.#waiting.filter(({ signal }) => !signal.aborted);
		const jobs = new Set<Job>();
		const batch: Waiting<Job>[] = [];
		let tokens = 0;
		for (const waiting of this.#waiting) {
			const { step } = waiting;
			const more = this.#family.tokensOf(step);
			if (!jobs.has(step.job) && (batch.length === 0 || tokens + more <= this.#family.maxTokens)) {
				batch.push(waiting);
				tokens += more;
			}
			jobs.add(step.job);
		}
		this.#waiting = this.#waiting.filter((waiting) => !batch.includes(waiting));
		return batch;
	}

	/** Returns when the codes are there: the next round is recorded while the device still makes pictures of this one. */
	async #round(batch: readonly Waiting<Job>[]): Promise<void> {
		const begun = performance.now();
		try {
			const round = this.#family.round(batch.map(({ step }) => step));
			const timed = round.codes.then((codes) => {
				const now = performance.now();
				const transformer = now - Math.max(begun, this.#idleSince);
				this.#idleSince = now;
				return { codes, transformer };
			});
			const done = Promise.all([timed, round.pictures]).then(([{ codes, transformer }, pictures]) => {
				const preview = performance.now() - this.#idleSince;
				this.#idleSince += preview;
				batch.forEach(({ resolve }, i) =>
					resolve({ codes: codes[i], pictures: pictures[i], milliseconds: { transformer, preview } }),
				);
			});
			done.catch((error) => batch.forEach(({ reject }) => reject(error)));
			await timed.catch(() => {});
		} catch (error) {
			for (const { reject } of batch) reject(error);
		}
	}
}
