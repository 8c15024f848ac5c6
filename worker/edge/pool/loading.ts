/** Workers that are not ready yet. In memory alone: each says it again while it lasts. */
import type { Loading } from "../../protocol/messages.ts";

export class LoadingWorkers {
	/** By worker. */
	readonly #said = new Map<string, { loading: Loading; at: number }>();

	say(loading: Loading): void {
		this.#said.set(loading.worker, { loading, at: Date.now() });
	}

	/** It is ready. */
	forget(worker: string): void {
		this.#said.delete(worker);
	}

	/** Those that were heard within so many milliseconds; of the others nothing is kept. */
	within(milliseconds: number): Loading[] {
		const since = Date.now() - milliseconds;
		for (const [worker, { at }] of this.#said) if (at < since) this.#said.delete(worker);
		return [...this.#said.values()].map(({ loading }) => loading);
	}
}
