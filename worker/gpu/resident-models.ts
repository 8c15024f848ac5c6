import { orAborted } from "../../kernels/gpu/memory-turns.ts";
import type { LoadedModel } from "../engine/types.ts";
import type { ModelInfo } from "../protocol/model-info.ts";

/** A model that can be on the device. */
export interface Loadable {
	id: string;
	/** What it is reckoned to take there with its pictures. */
	bytes: number;
	/** Throws with nothing left on the device. */
	load(): Promise<LoadedModel>;
}

interface Entry extends Loadable {
	/** Undefined while it is not there. */
	loaded: LoadedModel | undefined;
	/** Pictures that it makes. */
	users: number;
	offer: Offer;
}

/** What is said of a model whether it is there or not. */
interface Offer {
	info: ModelInfo;
	numerics: string;
}

/**
 * The models of a worker, as many of them on the device as `memory` bytes hold. One that is asked for and not there is
 * loaded in place of those used least recently, once they make no picture. Whoever asks first is served first, so that
 * no model is kept away by the pictures of another.
 */
export class ResidentModels {
	readonly #memory: number;
	/** By id. */
	#entries = new Map<string, Entry>();
	/** Those that are there, least recently used first. */
	#used = new Set<Entry>();
	/** The last of those that enter, one after the other. */
	#turn: Promise<unknown> = Promise.resolve();
	/** Told when a model has made its last picture. */
	#idle = Promise.withResolvers<void>();

	constructor(memory = Infinity) {
		this.#memory = memory;
	}

	/** Loads a model for the first time. Throws what loading throws, RangeError where its bytes are beyond the memory. */
	async add(model: Loadable): Promise<LoadedModel> {
		if (model.bytes > this.#memory)
			throw new RangeError(`${model.id} takes ${model.bytes} bytes; all models together have ${this.#memory}.`);
		await this.#makeRoom(model.bytes);
		const loaded = await model.load();
		const { info, numerics } = loaded;
		const entry = { ...model, loaded, users: 0, offer: { info, numerics } };
		this.#entries.set(model.id, entry);
		this.#used.add(entry);
		return loaded;
	}

	/** Of all models. */
	get offers(): Offer[] {
		return [...this.#entries.values()].map(({ offer }) => offer);
	}

	has(id: string): boolean {
		return this.#entries.has(id);
	}

	/**
	 * Runs with a model, which stays until that is done. Throws the signal's reason when it comes before the model is
	 * there, RangeError for a model that is none of these, what loading throws, and what `run` throws.
	 */
	async use<T>(id: string, run: (model: LoadedModel) => Promise<T>, signal?: AbortSignal): Promise<T> {
		const entry = this.#entries.get(id);
		if (!entry) throw new RangeError(`There is no model ${id}. There are: ${[...this.#entries.keys()].join(", ")}.`);
		const entered = this.#turn.then(() => this.#enter(entry, signal));
		this.#turn = entered.catch(() => {});
		const model = await entered;
		try {
			return await run(model);
		} finally {
			entry.users--;
			if (entry.users === 0) {
				this.#idle.resolve();
				this.#idle = Promise.withResolvers();
			}
		}
	}

	async #enter(entry: Entry, signal: AbortSignal | undefined): Promise<LoadedModel> {
		signal?.throwIfAborted();
		if (!entry.loaded) {
			await this.#makeRoom(entry.bytes, signal);
			entry.loaded = await entry.load();
		}
		this.#used.delete(entry);
		this.#used.add(entry);
		entry.users++;
		return entry.loaded;
	}

	/** Frees idle models until there is room, and waits for the others where they do not do. */
	async #makeRoom(bytes: number, signal?: AbortSignal): Promise<void> {
		const held = () => [...this.#used].reduce((sum, { bytes }) => sum + bytes, 0);
		while (held() + bytes > this.#memory) {
			const oldest = [...this.#used].find(({ users }) => users === 0);
			if (oldest) this.#drop(oldest);
			else await orAborted(this.#idle.promise, signal);
		}
	}

	#drop(entry: Entry): void {
		entry.loaded?.destroy();
		entry.loaded = undefined;
		this.#used.delete(entry);
	}

	/** Frees all of them. */
	destroy(): void {
		for (const entry of [...this.#used]) this.#drop(entry);
	}
}
