/**
 * Jobs whose model no worker offers any more. A worker that restarts is back within seconds; one that begins another
 * version of the model takes the jobs that nobody has begun; the rest ends instead of waiting for ever.
 */

import { notReached } from "../log.ts";
import { type Env, settingsOf } from "../settings.ts";
import type { Entry, Ledger } from "./ledger.ts";
import type { Offers } from "./offer.ts";

export class Orphans {
	readonly #ledger: Ledger;
	readonly #offers: Offers;
	readonly #env: Env;

	constructor(ledger: Ledger, offers: Offers, env: Env) {
		this.#ledger = ledger;
		this.#offers = offers;
		this.#env = env;
	}

	/** Looks after them once; the models that jobs were moved to. */
	async look(now: number): Promise<Set<string>> {
		const moved = new Set<string>();
		for (const digest of this.#ledger.digests()) {
			for (const entry of [...this.#ledger.waiting(digest)]) {
				if (this.#offers.able(digest, entry.needs)) {
					if (entry.orphaned !== null) this.#ledger.orphan(entry, null);
				} else {
					const to = await this.#keep(entry, now).catch((error: unknown) => notReached(entry.job, error));
					if (to) moved.add(to);
				}
			}
		}
		return moved;
	}

	async #keep(entry: Entry, now: number): Promise<string | undefined> {
		const { job, model } = entry;
		const waits = () => this.#ledger.get(job) === entry && entry.held === null;
		const other = this.#offers.versions().find(({ info }) => info.id === model && info.digest !== entry.digest);
		if (other) {
			const needs = await this.#job(job).replan(other.info);
			if (needs && waits()) {
				this.#ledger.move(entry, other.info.digest, needs);
				return other.info.digest;
			}
		}
		if (entry.orphaned === null) {
			if (waits()) this.#ledger.orphan(entry, now);
		} else if (now - entry.orphaned >= settingsOf(this.#env).NO_WORKER_SECONDS * 1000) {
			await this.#job(job).fail(
				"no_workers",
				"The GPU workers that can make this picture went away and did not come back. Try again later.",
			);
			if (waits()) this.#ledger.end(job);
		}
	}

	#job(job: string) {
		return this.#env.JOB.get(this.#env.JOB.idFromString(job));
	}
}
