import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import type { Graph } from "../../families/family.ts";
import type { DecoderStore } from "../../families/shared/decoder-size.ts";
import { latentGrids } from "../../families/shared/schedules.ts";
import type { Taps } from "../../families/shared/taps.ts";
import type { Weights } from "../../families/shared/weights.ts";
import type { PromptFeatures } from "../../families/text/prompt-features.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import { type StagePlan, settle } from "../../protocol/plan.ts";
import { detailOf } from "./detail.ts";
import { KeyValueStore } from "./key-value-store.ts";
import { rowsOf } from "./kv-plan.ts";
import { Latents } from "./latents.ts";
import { measure } from "./measure.ts";
import type { ScaleRequest } from "./parts.ts";
import {
	closePicture,
	openPicture,
	type Picture,
	type PictureNeeds,
	type PictureOptions,
	pictureNeeds,
	pictureTensors,
	settlePicture,
} from "./picture.ts";
import { PictureDecoder } from "./picture-decoder.ts";
import type { RgbImage } from "./rgb-image.ts";
import { hasRoom, noRoom, type Planned } from "./room.ts";
import { type Round, type RoundModel, runRound } from "./round.ts";
import { restoreSnapshot, type Snapshot, takeSnapshot } from "./snapshot.ts";
import {
	covers,
	largerNeed,
	mostTokens,
	roundNeed,
	Workspace,
	type WorkspaceNeed,
	workspaceTensors,
} from "./workspace.ts";

/** Next-scale prediction (arXiv 2404.02905) by any family's graph: the pictures that are open, and their rounds. */
export class NextScaleModel implements Disposable {
	/** Pictures that can be open at once. */
	readonly slots: number;
	/** Tokens, over all guidance rows, that one round takes at most; a single picture's scale may have more. */
	readonly maxTokens: number;
	#model: RoundModel;
	#prompts: PromptFeatures | undefined;
	#schedules: Readonly<Record<string, Schedule>>;
	#pictures: (Picture | undefined)[];
	#work: Workspace | undefined;
	/** Keys and values grow block by block alone. */
	#slowly: boolean;
	#owned: DisposableStack;

	/**
	 * Takes the graph over: it is destroyed with the model, or when this throws. The weights stay the caller's, and
	 * the features of prompts, too. `stored`: what the picture decoder keeps between layers; left out: as much as is
	 * worth it. `slowly`: keys and values grow block by block even where there is room for more at a time, as those
	 * want it who reckon with it.
	 */
	constructor(
		gpu: Gpu,
		graph: Graph,
		schedules: Readonly<Record<string, Schedule>>,
		weights: Weights,
		slots: number,
		keys: Precision,
		{ prompts, stored, slowly = false }: { prompts?: PromptFeatures; stored?: DecoderStore; slowly?: boolean } = {},
	) {
		using made = new DisposableStack();
		made.defer(() => graph.destroy());
		const { depth, width } = graph.shape;
		this.slots = slots;
		this.maxTokens = mostTokens(graph.shape, graph.codes, gpu.bindingBytes);
		const store = made.use(new KeyValueStore(gpu, depth, width, keys));
		const latents = made.use(new Latents(gpu, graph.codes, schedules, slots));
		const decoder = made.use(
			new PictureDecoder(gpu, weights, graph, latentGrids(schedules, graph.codes.patch), stored),
		);
		this.#model = { gpu, graph, weights, store, latents, decoder };
		this.#prompts = prompts;
		this.#slowly = slowly;
		this.#schedules = schedules;
		this.#pictures = Array.from({ length: slots });
		this.#owned = made.move();
	}

	/** Tokens of a scale over all guidance rows. */
	tokensOf({ picture, scale }: ScaleRequest): number {
		const step = picture.plan.steps[scale];
		return step.kind === "run" ? rowsOf(step).length * picture.tokens[scale] : 0;
	}

	/** Whether the text encoder has to come for a picture before it is opened. */
	encodes(options: PictureOptions): boolean {
		return (this.#prompts?.missing(this.#textsOf(options)).length ?? 0) > 0;
	}

	/**
	 * Has it come. While no picture is open: what they took is given up before. Throws what the visit throws, and the
	 * signal's reason when it comes before the encoder's turn at the memory. `waits`: told while the device encodes
	 * nothing.
	 */
	async encode(options: PictureOptions, signal: AbortSignal, waits: (begins: boolean) => void): Promise<void> {
		if (!this.encodes(options)) return;
		this.#dropWorkspace();
		this.#model.store.clear();
		await this.#prompts?.encode(this.#textsOf(options), signal, waits);
	}

	#textsOf = (options: PictureOptions) => this.#model.graph.texts?.(options) ?? [];

	/**
	 * Allocates a picture. Throws OutOfMemoryError when it does not fit beside those that are open, which go on as they
	 * were, RangeError when all slots are taken, the signal's reason before anything is allocated. `begun`: told when its
	 * turn at the device's memory has come.
	 */
	async open(options: PictureOptions, signal?: AbortSignal, begun = (): void => {}): Promise<Picture> {
		return await this.#model.gpu.memoryTurns.take(() => {
			begun();
			return this.#open(options);
		}, signal);
	}

	/**
	 * Settles when no picture is being opened, nor tried out whether another model has room on the device: what is then
	 * allocated at once, by a round or beside it, does not meet what is tried out.
	 */
	get opened(): Promise<unknown> {
		return this.#model.gpu.memoryTurns.quiet;
	}

	async #open(options: PictureOptions): Promise<Picture> {
		const { gpu, graph, store } = this.#model;
		const slot = this.#pictures.indexOf(undefined);
		if (slot === -1) throw new RangeError(`All ${this.slots} slots of the model are taken.`);
		const needs = pictureNeeds(graph, this.#schedules[options.plan.schedule], options);
		const { work, slowly } = await this.#makeRoom(needs);
		if (slowly) await store.growSlowly(needs.keys);
		// Nothing is waited for from here on, so that nobody else takes the room. A refusal leaves what there was.
		using made = new DisposableStack();
		const larger = work && made.use(new Workspace(gpu, graph.shape, graph.codes, work));
		const picture = made.adopt(openPicture(gpu, store, slot, needs), (picture) => closePicture(picture, store));
		graph.opened(picture);
		made.move();
		if (larger) {
			this.#dropWorkspace();
			this.#work = larger;
		}
		this.#pictures[slot] = picture;
		return picture;
	}

	/**
	 * Sees to it that a further picture finds room beside all that the open ones use. Returns what a larger workspace
	 * must be enough for, where that of now is too small, and whether keys and values have to grow block by block, which
	 * takes longer. Throws OutOfMemoryError.
	 */
	async #makeRoom(needs: PictureNeeds): Promise<{ work?: WorkspaceNeed; slowly: boolean }> {
		const { gpu, graph, store, decoder } = this.#model;
		const open = this.#pictures.filter((picture) => picture !== undefined);
		const need = roundNeed(
			[...open, needs].map(({ work }) => work),
			this.maxTokens,
		);
		const held = this.#work?.need;
		const enough = held !== undefined && covers(held, need);
		const idle = open.length === 0;
		// What nobody uses need not be there beside what takes its place.
		if (idle && !enough) this.#dropWorkspace();
		if (idle && store.growth(needs.keys).length > 0) store.clear();
		const own = pictureTensors(needs);
		// Enough for the pictures of before, too, or else for those of now alone.
		let choices = enough ? [undefined] : [held ? largerNeed(held, need) : need, need];
		let tensors: Planned[] = [];
		for (const anew of idle ? [false, true] : [false]) {
			if (anew) {
				// What would do is given up, too, where it leaves no room for the rest.
				this.#dropWorkspace();
				store.clear();
				choices = [need];
			}
			for (const slowly of this.#slowly ? [true] : [false, true]) {
				const keys = slowly ? store.slowGrowth(needs.keys) : store.growth(needs.keys);
				for (const work of choices) {
					const larger = work ? workspaceTensors(graph.shape, graph.codes, work, gpu.bindingBytes) : [];
					tensors = [...own, ...keys, ...larger];
					if (tensors.length === 0 || (await hasRoom(gpu, [...tensors, decoder.readBack]))) return { work, slowly };
				}
			}
		}
		throw noRoom(gpu, tensors);
	}

	#dropWorkspace(): void {
		this.#work?.[Symbol.dispose]();
		this.#work = undefined;
	}

	close(picture: Picture): void {
		closePicture(picture, this.#model.store);
		this.#pictures[picture.slot] = undefined;
	}

	/** Copies what the picture is after `scales` scales; between two rounds of it. Dispose of it when it is used. */
	async snapshot(picture: Picture, scales: number): Promise<Snapshot> {
		await this.opened;
		const { gpu, store, latents } = this.#model;
		const pass = gpu.pass("snapshot");
		const snapshot = takeSnapshot(gpu, pass, picture, scales, store, latents);
		pass.submit();
		return snapshot;
	}

	/** Puts a picture that has run nothing yet where the snapshot was taken. */
	restore(picture: Picture, snapshot: Snapshot): void {
		const { gpu, store, latents } = this.#model;
		const pass = gpu.pass("restore snapshot");
		restoreSnapshot(pass, picture, snapshot, store, latents);
		pass.submit();
	}

	/**
	 * Looks at the picture after a scale that its plan gathers by; `image`: as it was decoded already, and then it has
	 * looked when this returns. Between the rounds of that scale and the next.
	 */
	async look(picture: Picture, scale: number, image?: RgbImage): Promise<void> {
		picture.details.set(scale, detailOf(image ?? (await this.#imageAt(picture, scale))));
	}

	async #imageAt(picture: Picture, scale: number): Promise<RgbImage> {
		await this.opened;
		const { latents, decoder } = this.#model;
		const request = {
			from: latents.of(picture),
			grid: latents.grid(picture, scale),
			taps: picture.taps,
			latentName: null,
			finished: false,
		};
		return await decoder.decode(latents.tensor, [request])[0];
	}

	/**
	 * Measures what the picture's plan leaves to be decided and settles it: its plan is another one from then on. Between
	 * the rounds of the scale that is looked at and the next.
	 */
	async settle(picture: Picture): Promise<{ measured: number; plan: StagePlan }> {
		const { gpu, store, latents } = this.#model;
		const { decide } = picture.plan;
		if (!decide) throw new Error("The plan leaves nothing to settle.");
		await this.opened;
		const measured = await measure(gpu, latents, picture, decide);
		const plan = settle(picture.plan, measured);
		settlePicture(picture, store, plan);
		return { measured, plan };
	}

	/** Records and submits one round. The requests are of different pictures, the scales of a picture in order. */
	round(requests: readonly ScaleRequest[]): Round {
		return runRound(this.#model, this.#work as Workspace, requests);
	}

	/** The picture of a latent [height * width, channels] given from outside. Throws RangeError when it is too large. */
	async decode(
		latent: Float32Array<ArrayBuffer>,
		grid: readonly [height: number, width: number],
		taps: Taps,
	): Promise<RgbImage> {
		await this.opened;
		return await this.#model.decoder.decodeGiven(latent, grid, taps);
	}

	[Symbol.dispose](): void {
		this.#dropWorkspace();
		this.#owned.dispose();
	}
}
