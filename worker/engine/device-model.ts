import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { TapNames } from "../families/family.ts";
import type { ModelFolder } from "../families/folder.ts";
import { Taps } from "../families/shared/taps.ts";
import type { PromptTokenizer } from "../families/text/tokenizer.ts";
import { checkPlan } from "../policies/validate.ts";
import { checkCodes } from "../protocol/codes.ts";
import type { ModelInfo, Schedule } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { type Branch, growBranches } from "./branches.ts";
import { compilePlans } from "./compile.ts";
import { walk } from "./generate.ts";
import type { NextScaleModel } from "./round/next-scale.ts";
import { Rounds } from "./rounds.ts";
import { type Subject, subjectIds } from "./subject.ts";
import type { BranchOptions, Draws, GenerateOptions, GenerateResult, LoadedModel, RgbImage, Tap } from "./types.ts";

/** Those of most prompts, then of others. */
const PROMPT_TOKENS = [8, 4, 16, 32, 2, 1];

/** What a model on the device is made of. */
interface DeviceModelParts {
	gpu: Gpu;
	folder: ModelFolder;
	tokenizer: PromptTokenizer | null;
	model: NextScaleModel;
	numerics: string;
	/** The text encoder is on the device for a text alone. */
	visited: boolean;
	/** An error with what to do about it. */
	explained(error: unknown): unknown;
	/** Its memory. */
	owned: DisposableStack;
}

/** A model whose weights are on the device: checks what is asked of it before that may share rounds with others. */
export class DeviceModel implements LoadedModel {
	readonly info: ModelInfo;
	readonly names: TapNames;
	readonly slots: number;
	readonly apart: number;
	readonly numerics: string;
	#parts: DeviceModelParts;
	#rounds: Rounds;

	constructor(parts: DeviceModelParts) {
		this.info = parts.folder.info;
		this.names = parts.folder.facts.names;
		this.slots = parts.model.slots;
		this.apart = parts.visited ? 1 : parts.model.slots;
		this.numerics = parts.numerics;
		this.#parts = parts;
		this.#rounds = new Rounds(parts.model);
	}

	async compile(plans: readonly StagePlan[], subject?: Subject): Promise<void> {
		const texts = subject ? [this.#ids(subject, new Map())] : this.#anyTexts();
		await this.#explaining(compilePlans(this.#parts.gpu, this.#rounds, plans, texts));
	}

	/** One of each size that kernels differ by, most prompts' first. */
	#anyTexts(): number[][] {
		const most = this.info.classes === undefined ? Math.max(1, this.info.maxPromptTokens) : 1;
		const counts = new Set(PROMPT_TOKENS.map((tokens) => Math.min(tokens, most)));
		return [...counts].map((tokens) => new Array<number>(tokens).fill(0));
	}

	generate({
		plan,
		prompt,
		label,
		seed,
		draws = new Map(),
		tap,
		...rest
	}: Omit<GenerateOptions, "model">): AsyncGenerator<GenerateResult, void, undefined> {
		checkPlan(plan, this.info);
		const grids = this.#grids(plan);
		const ids = this.#ids({ prompt, label }, draws);
		checkCodes(rest.forcedCodes, grids, this.#parts.folder.facts.codes);
		const taps = new Taps(this.#parts.gpu, tap);
		taps.give("text.ids", [ids.length], () => Int32Array.from(ids));
		return this.#explainingAll(walk(this.#rounds, { plan, grids, seed, ids, draws, taps, ...rest }));
	}

	async branches({ plans, prompt, label, seed, draws = new Map(), signal }: BranchOptions): Promise<Branch[]> {
		for (const plan of plans) checkPlan(plan, this.info);
		const [{ schedule, decide }] = plans;
		if (decide)
			throw new RangeError("The first of the plans, which others branch off, must not have anything to decide.");
		if (plans.some((plan) => plan.schedule !== schedule))
			throw new RangeError(
				`Branches are of one schedule, not of ${[...new Set(plans.map(({ schedule }) => schedule))].join(" and ")}.`,
			);
		const ids = this.#ids({ prompt, label }, draws);
		const options = { seed, ids, draws, taps: new Taps(this.#parts.gpu, undefined) };
		const grown = growBranches(
			this.#rounds,
			plans,
			this.#grids(plans[0]),
			options,
			signal ?? new AbortController().signal,
		);
		return await this.#explaining(grown);
	}

	async decode(
		latent: Float32Array<ArrayBuffer>,
		grid: readonly [height: number, width: number],
		tap?: Tap,
	): Promise<RgbImage> {
		const taps = new Taps(this.#parts.gpu, tap);
		try {
			const image = await this.#parts.model.decode(latent, grid, taps);
			await taps.flush();
			return image;
		} finally {
			taps.destroy();
		}
	}

	destroy(): void {
		this.#parts.owned.dispose();
	}

	#grids({ schedule }: StagePlan): Schedule["grids"] {
		return this.#parts.folder.manifest.schedules[schedule].grids;
	}

	#ids(subject: Subject, draws: Draws): number[] {
		const { folder, tokenizer } = this.#parts;
		return subjectIds(folder.facts, this.info, tokenizer, subject, draws);
	}

	async #explaining<T>(work: Promise<T>): Promise<T> {
		return await work.catch((error) => {
			throw this.#parts.explained(error);
		});
	}

	async *#explainingAll<T>(results: AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
		try {
			yield* results;
		} catch (error) {
			throw this.#parts.explained(error);
		}
	}
}
