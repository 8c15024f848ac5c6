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

	/** Looks after them once; the models of jobs that can be given now. */
	async look(now: number): Promise<Set<string>> {
		const found = new Set<string>();
		const asked: Promise<void>[] = [];
		for (const digest of this.#ledger.digests()) {
			for (const entry of [...this.#ledger.waiting(digest)]) {
				if (this.#ledger.moving.has(entry.job)) continue;
				if (this.#offers.able(digest, entry.needs)) {
					if (entry.orphaned !== null) this.#ledger.orphan(entry, null);
				} else {
					const kept = this.#keep(entry, now).then((to) => void (to && found.add(to)));
					asked.push(kept.catch((error: unknown) => notReached(entry.job, error)));
				}
			}
		}
		await Promise.all(asked);
		return found;
	}

	async #keep(entry: Entry, now: number): Promise<string | undefined> {
		const { job, model, digest } = entry;
		const waits = () => this.#ledger.get(job) === entry && entry.held === null;
		if (!waits()) return;
		// Where nobody can do what it needs either it only waits, and would come back.
		const other = this.#offers
			.versions()
			.find(({ info }) => info.id === model && info.digest !== digest && this.#offers.able(info.digest, entry.needs));
		if (other) {
			// A worker of its own version that is back meanwhile would get a plan that it cannot run.
			this.#ledger.moving.add(job);
			try {
				const needs = await this.#job(job).replan(other.info);
				if (needs && waits()) {
					this.#ledger.move(entry, other.info.digest, needs);
					return other.info.digest;
				}
			} finally {
				this.#ledger.moving.delete(job);
			}
			if (this.#offers.able(digest, entry.needs)) return digest;
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
