import { Compiling } from "./compiling.ts";
import type { NextScaleModel } from "./round/next-scale.ts";
import type { ScaleRequest } from "./round/parts.ts";
import type { Picture, PictureOptions } from "./round/picture.ts";
import { Slots } from "./slots.ts";
import { TaskChannel } from "./task-channel.ts";
import type { RgbImage } from "./types.ts";

interface ScaleOutcome {
	codes: Uint8Array<ArrayBuffer> | null;
	pictures: RgbImage[];
	/** Wall-clock milliseconds: transformer and sampling of the round it was part of, then until its pictures came. */
	milliseconds: { transformer: number; preview: number };
}
interface Waiting {
	request: ScaleRequest;
	signal: AbortSignal;
	resolve(outcome: ScaleOutcome): void;
	reject(error: unknown): void;
}

/** Tokens of a round that takes a GPU no longer than the host takes to record the next one. */
const SHORT_ROUND = 256;

/**
 * Runs the scales of many pictures together: what waits when a round begins is in it, one scale a picture, but that
 * first previews do not wait for later scales. So pictures join at a scale's end and leave when they are done, whatever
 * their plans, and a picture alone is a batch of one. Behind a short round, as early scales are, the next one is
 * submitted before its codes are there: the device does not wait for the host between the two.
 */
export class Rounds {
	readonly model: NextScaleModel;
	/** What scales wait for, beside each other. */
	readonly compiling = new Compiling();
	#waiting: Waiting[] = [];
	#running = false;
	/** Settles when the codes of the round before are there. */
	#before = Promise.resolve();
	#shortRound: number;
	/** Ends the wait of a loop in which nobody could run. */
	#wake = (): void => {};
	/** When the device finished what was submitted last. */
	#idleSince = 0;
	#slots: Slots;

	/** `shortRound`: tokens of the largest round behind which another one is submitted at once. */
	constructor(model: NextScaleModel, shortRound = SHORT_ROUND) {
		this.model = model;
		this.#shortRound = shortRound;
		this.#slots = new Slots(model.slots);
	}

	/**
	 * Opens a picture as soon as one of the model's slots is free. Close it with `close`. Throws the signal's reason when
	 * it comes first, with nothing opened, and OutOfMemoryError when the picture does not fit: at once, but that a text
	 * encoder on its way comes to its end. `waits`: told while it has no slot, no encoder, or no turn at the memory.
	 */
	async open(options: PictureOptions, signal: AbortSignal, waits = (_: boolean): void => {}): Promise<Picture> {
		waits(true);
		try {
			await this.#takeSlot(options, signal, waits);
		} catch (error) {
			waits(false);
			throw error;
		}
		try {
			return await this.model.open(options, signal, () => waits(false));
		} catch (error) {
			waits(false);
			this.#slots.give();
			throw error;
		}
	}

	/**
	 * One slot for a picture whose text is encoded. An encoder that has to come for that comes while no picture is open,
	 * when what pictures take is free.
	 */
	async #takeSlot(options: PictureOptions, signal: AbortSignal, waits: (begins: boolean) => void): Promise<void> {
		const { model } = this;
		for (;;) {
			const encodes = model.encodes(options);
			await this.#slots.take(signal, encodes ? model.slots : 1);
			if (encodes) {
				await model.encode(options, signal, waits).catch((error) => {
					this.#slots.give(model.slots);
					throw error;
				});
				this.#slots.give(model.slots - 1);
				return;
			}
			// Another text may have taken the place of its own meanwhile.
			if (!model.encodes(options)) return;
			this.#slots.give();
		}
	}

	/**
	 * Pictures are opened one after the other in one slot, which nobody gets in between, and each is closed after its
	 * use.
	 */
	async tryOut(
		tries: (open: (options: PictureOptions, use: (picture: Picture) => void) => Promise<void>) => Promise<void>,
	): Promise<void> {
		await this.#slots.take(new AbortController().signal);
		try {
			await tries(async (options, use) => {
				const picture = await this.model.open(options);
				try {
					use(picture);
				} finally {
					this.model.close(picture);
				}
			});
		} finally {
			this.#slots.give();
		}
	}

	close(picture: Picture): void {
		this.model.close(picture);
		this.#slots.give();
	}

	/**
	 * Runs a scale in one of the next rounds, in order with the picture's other ones. Rejects with the signal's reason
	 * when it comes first.
	 */
	run(request: ScaleRequest, signal: AbortSignal): Promise<ScaleOutcome> {
		return new Promise((resolve, reject) => {
			this.#waiting.push({ request, signal, resolve, reject });
			if (this.#running) this.#wake();
			else this.#loop();
		});
	}

	/** Never rejects, and leaves nobody waiting. */
	async #loop(): Promise<void> {
		this.#running = true;
		try {
			using tasks = new TaskChannel();
			while (this.#waiting.length > 0) {
				await this.#gather(tasks);
				const { batch, tokens } = this.#next();
				if (batch.length === 0) {
					await this.#change();
					continue;
				}
				const codes = this.#round(batch);
				// No more than two are on their way: who comes would wait for all of them.
				await this.#before;
				this.#before = codes;
				if (tokens > this.#shortRound) await codes;
			}
		} catch (error) {
			for (const { reject } of this.#waiting.splice(0)) reject(error);
		} finally {
			this.#running = false;
		}
	}

	/** Pictures that finished a scale together, or were opened together, ask for their next one together. */
	async #gather(tasks: TaskChannel): Promise<void> {
		for (let opened: unknown; opened !== this.model.opened; ) {
			opened = this.model.opened;
			await opened;
			await tasks.next();
		}
	}

	/** Waits until kernels are there that somebody waits for, or somebody comes or goes. */
	async #change(): Promise<void> {
		if (this.#waiting.length === 0) return;
		using stack = new DisposableStack();
		const { promise: come, resolve: wake } = Promise.withResolvers<void>();
		this.#wake = wake;
		const oldest = new Map(this.#waiting.toReversed().map((waiting) => [waiting.request.picture, waiting]));
		const changes = [...oldest.values()].flatMap(({ request, signal }) => {
			const gone = new Promise<void>((resolve) => {
				const listen = () => resolve();
				signal.addEventListener("abort", listen);
				stack.defer(() => signal.removeEventListener("abort", listen));
			});
			return [this.compiling.missing(request) ?? Promise.resolve(), gone];
		});
		await Promise.race([come, ...changes]);
	}

	/**
	 * The oldest request of each picture whose kernels are there, as many as one round takes. First scales that are
	 * shown go before all others and without them: what a reader sees first would come with the others' last ones.
	 */
	#next(): { batch: Waiting[]; tokens: number } {
		const ready = this.#ready();
		const firsts = ready.filter(({ waiting: { request } }) => request.scale === 0 && request.pictures.length > 0);
		const batch: Waiting[] = [];
		let tokens = 0;
		for (const { waiting, more } of firsts.length > 0 ? firsts : ready) {
			if (batch.length > 0 && tokens + more > this.model.maxTokens) continue;
			batch.push(waiting);
			tokens += more;
		}
		this.#waiting = this.#waiting.filter((waiting) => !batch.includes(waiting));
		return { batch, tokens };
	}

	/** Those that could run now, and their tokens. Who has gone, or asks for what cannot be, waits no more. */
	#ready(): { waiting: Waiting; more: number }[] {
		for (const waiting of this.#waiting) if (waiting.signal.aborted) waiting.reject(waiting.signal.reason);
		this.#waiting = this.#waiting.filter(({ signal }) => !signal.aborted);
		const pictures = new Set<Picture>();
		const wrong = new Set<Waiting>();
		const ready = this.#waiting.flatMap((waiting) => {
			const { request, reject } = waiting;
			try {
				const more = this.model.tokensOf(request);
				const first = !pictures.has(request.picture);
				pictures.add(request.picture);
				return first && !this.compiling.missing(request) ? [{ waiting, more }] : [];
			} catch (error) {
				// What is wrong with one request is none of the others' business.
				wrong.add(waiting);
				reject(error);
				return [];
			}
		});
		this.#waiting = this.#waiting.filter((waiting) => !wrong.has(waiting));
		return ready;
	}

	/**
	 * Submits a round; settles when its codes are there: the next one is recorded while the device still makes pictures
	 * of this one. Never rejects.
	 */
	async #round(batch: readonly Waiting[]): Promise<void> {
		const begun = performance.now();
		try {
			const round = this.model.round(batch.map(({ request }) => request));
			const timed = round.codes.then((codes) => {
				const came = performance.now();
				const transformer = came - Math.max(begun, this.#idleSince);
				this.#idleSince = came;
				return { codes, came, transformer };
			});
			batch.forEach(({ resolve, reject }, i) => {
				const done = Promise.all([timed, round.pictures[i]]).then(([{ codes, came, transformer }, pictures]) => {
					const now = performance.now();
					this.#idleSince = Math.max(this.#idleSince, now);
					resolve({ codes: codes[i], pictures, milliseconds: { transformer, preview: now - came } });
				});
				done.catch(reject);
			});
			await timed.catch(() => {});
		} catch (error) {
			for (const { reject } of batch) reject(error);
		}
	}
}
