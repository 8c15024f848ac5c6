/** How far a worker is that is not ready yet, told to the edge: readers see it wait. */
import { LOADING_PATH, type Loading } from "../protocol/messages.ts";
import { type Credential, credentialOf } from "./registration.ts";
import { edgeUrl, type Settings } from "./settings.ts";

const EVERY_MS = 1000;

/** Says the newest at once and then once a second, until `stop`. An edge that cannot be told is not missed. */
export class LoadingNews {
	#url: URL;
	#settings: Settings;
	#credential: Credential;
	#newest: Loading | undefined;
	#timer: ReturnType<typeof setInterval> | undefined;
	#stopped = new AbortController();
	#saying = false;

	constructor(settings: Settings) {
		this.#settings = settings;
		this.#credential = credentialOf(settings);
		this.#url = edgeUrl(settings.EDGE_URL, LOADING_PATH);
		if (settings.REGION) this.#url.searchParams.set("region", settings.REGION);
	}

	/** `done`: so much of `total`. */
	say(model: string, part: Loading["part"], done: number, total: number): void {
		this.#newest = { worker: this.#settings.WORKER_ID, model, part, done: total > 0 ? Math.min(1, done / total) : 1 };
		if (this.#timer || this.#stopped.signal.aborted) return;
		this.#timer = setInterval(() => this.#post(), EVERY_MS);
		this.#post();
	}

	stop(): void {
		clearInterval(this.#timer);
		this.#stopped.abort();
	}

	async #post(): Promise<void> {
		if (this.#saying) return;
		this.#saying = true;
		try {
			const response = await fetch(this.#url, {
				method: "POST",
				headers: {
					"content-type": "application/json",
					authorization: `Bearer ${await this.#credential.current()}`,
				},
				body: JSON.stringify(this.#newest),
				signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(5 * EVERY_MS)]),
			});
			await response.body?.cancel();
		} catch {
			// Not there, or not any more: what matters is said when the worker dials.
		}
		this.#saying = false;
	}
}
