import type { Holding, Lease } from "../protocol/messages.ts";
import type { Outcome } from "./lease.ts";

interface InHand {
	lease: Lease;
	abort: AbortController;
	done: Promise<void>;
}

/** The pictures a worker is making, by job and attempt. */
export class Hands {
	readonly #inHand = new Map<string, InHand>();

	/** Runs a lease; an older attempt at the same job is given up. `ended` is called with how it went. */
	take(
		lease: Lease,
		run: (signal: AbortSignal) => Promise<Outcome>,
		ended: (lease: Lease, outcome: Outcome) => void,
	): void {
		for (const { lease: older, abort } of this.#inHand.values())
			if (older.job === lease.job && older.attempt < lease.attempt) abort.abort("superseded");
		if (this.#inHand.has(keyOf(lease))) return;
		const abort = new AbortController();
		const done = run(abort.signal).then((outcome) => {
			this.#inHand.delete(keyOf(lease));
			ended(lease, outcome);
		});
		this.#inHand.set(keyOf(lease), { lease, abort, done });
	}

	holding(): Holding[] {
		return [...this.#inHand.values()].map(({ lease: { job, attempt } }) => ({ job, attempt }));
	}

	/** False where it is not in hand. */
	cancel(holding: Holding): boolean {
		const held = this.#inHand.get(keyOf(holding));
		held?.abort.abort("cancelled");
		return held !== undefined;
	}

	abortAll(reason: string): void {
		for (const { abort } of this.#inHand.values()) abort.abort(reason);
	}

	/** Resolves when nothing is in hand that is now. */
	async idle(): Promise<void> {
		await Promise.all([...this.#inHand.values()].map(({ done }) => done));
	}
}

const keyOf = ({ job, attempt }: Holding): string => `${job}/${attempt}`;
