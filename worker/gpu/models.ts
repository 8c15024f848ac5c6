import { OutOfMemoryError } from "../../kernels/gpu/errors.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openReady } from "../../kernels/gpu/native/open.ts";
import { MissingFileError, ModelFormatError } from "../../model-shards/format/errors.ts";
import { isUrl, openModelAt } from "../../model-shards/open.ts";
import { type OpenOptions, openModel, reckoned } from "../engine/open.ts";
import type { ModelFolder } from "../families/folder.ts";
import { PlanError, policies } from "../policies/index.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { LoadingNews } from "./loading-news.ts";
import type { Log } from "./log.ts";
import { byteLog, countLog } from "./progress-log.ts";
import { modelAt, modelHeaders, RegistrationRefused } from "./registration.ts";
import { ResidentModels } from "./resident-models.ts";
import { edgeUrl, type Settings, SettingsError } from "./settings.ts";

/** One open device with the models on it. */
export interface Device {
	gpu: Gpu;
	/** Pictures made at once, by each model in one batch: as many as each of them makes. */
	slots: number;
	models: ResidentModels;
	close(): void;
}

/** Opens the adapter, loads the models and compiles their kernels, so that the first job meets a warm worker. */
export async function openDevice(settings: Settings, log: Log): Promise<Device> {
	const news = new LoadingNews(settings);
	try {
		return await openReady((gpu) => loadModels(gpu, settings, log, news), log);
	} finally {
		news.stop();
	}
}

async function loadModels(gpu: Gpu, settings: Settings, log: Log, news: LoadingNews): Promise<Device> {
	log(`adapter: ${gpu.facts.name}`);
	if (settings.DTYPE === "f16" && !gpu.device.features.has("shader-f16"))
		throw new SettingsError(`DTYPE: ${gpu.facts.name} has no f16. Use f32, or another GPU.`);
	const folders: ModelFolder[] = [];
	for (const where of settings.MODELS)
		folders.push(
			await openFolder(where, settings, log).catch((error: unknown) => {
				throw lasting(error, where) ? new SettingsError((error as Error).message, { cause: error }) : error;
			}),
		);
	const { DTYPE: dtype, MEMORY: memory } = settings;
	const settled = (folder: ModelFolder, slots: number) =>
		settledOf(gpu, folder, { slots, dtype, cacheDtype: dtype, memory });
	// A GPU has room for several pictures at once; on a CPU they would only slow each other.
	const asked = settings.SLOTS ?? (gpu.facts.software ? 1 : 4);
	// As many as each of the models makes: what would only wait here may be another worker's.
	const slots = Math.min(...folders.map((folder) => settled(folder, asked).options.slots));
	const models = new ResidentModels(memory);
	for (const folder of folders) {
		const begun = performance.now();
		const { id } = folder.info;
		const compiled = countLog("kernels compiled", log);
		gpu.compiling = (done, total) => {
			compiled(done, total);
			news.say(id, "kernels", done, total);
		};
		const { options, bytes, kept } = settled(folder, slots);
		if (kept) log(slots < asked ? `${kept}, ${slots === 1 ? "one picture" : `${slots} pictures`} at a time` : kept);
		const model = await models.add({
			id,
			bytes,
			load: () =>
				openModel(gpu, folder, { ...options, progress: (done, total) => news.say(id, "weights", done, total) }),
		});
		await model.compile(plansOf(model.info));
		// A first small picture: what a driver puts off until a kernel runs is done by now.
		for await (const _ of model.generate({
			plan: policies.exact.plan(model.info, {}),
			...(model.info.classes === undefined ? { prompt: "a photo" } : { label: 0 }),
			seed: 0,
			previews: "all",
			until: 0,
		}));
		log(`model ${model.info.id} loaded and warm in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
	}
	return {
		gpu,
		slots,
		models,
		close() {
			models.destroy();
			gpu.destroy();
		},
	};
}

/**
 * How a model is opened within a budget: for as many pictures at once as it holds, those that are asked for at most.
 * Where its text encoder would come and go, pictures of new texts wait for each other: then for fewer, and for one in
 * any case. What does not do will not do at the next start: SettingsError.
 */
export function settledOf(
	gpu: Gpu,
	folder: ModelFolder,
	options: OpenOptions & { slots: number },
): { options: typeof options; bytes: number; kept?: string } {
	const of = (slots: number) => {
		const { slots: made, bytes, kept, visits } = reckoned(gpu, folder, { ...options, slots });
		return { options: { ...options, slots: made }, bytes, visits, ...(kept !== undefined && { kept }) };
	};
	try {
		for (let { slots } = options; slots > 1; slots--) {
			const settled = reckonedOr(() => of(slots));
			if (settled && !settled.visits) return settled;
		}
		return of(1);
	} catch (error) {
		throw new SettingsError(`MEMORY: ${(error as Error).message}`, { cause: error });
	}
}

/** Undefined where nothing would do. */
function reckonedOr<T>(reckon: () => T): T | undefined {
	try {
		return reckon();
	} catch (error) {
		if (error instanceof OutOfMemoryError) return undefined;
		throw error;
	}
}

/** Its shards are read while it is loaded; those of a URL say how far they are. */
export async function openFolder(where: string, settings: Settings, log: Log): Promise<ModelFolder> {
	if (!isUrl(where)) return await openModelAt(where);
	let came = (_bytes: number): void => {};
	const open = (at: string) =>
		openModelAt(at, { headers: () => modelHeaders(at, settings), progress: (bytes) => came(bytes) });
	const named = await open(where);
	// Its shards are read again as long as the worker lives, when the name may stand for another model.
	const edge = settings.EDGE_URL;
	const fixed = [undefined, named.digest].includes(modelAt(where, edge));
	const folder = fixed ? named : await open(edgeUrl(edge, `/v1/models/${named.digest}/files`).href);
	came = byteLog(
		`model ${folder.info.id}`,
		folder.manifest.shards.reduce((sum, { bytes }) => sum + bytes, 0),
		log,
	);
	return folder;
}

/** Whether a model that cannot be opened will not be so at the next start. What comes over a network may. */
function lasting(error: unknown, where: string): boolean {
	if (error instanceof RegistrationRefused) return true;
	const overNetwork = isUrl(where) && URL.canParse(where);
	return error instanceof MissingFileError || (error instanceof ModelFormatError && !overNetwork);
}

/** The default schedule under every policy that can plan it. */
function plansOf(info: ModelInfo): StagePlan[] {
	return Object.values(policies).flatMap((policy) => {
		try {
			return [policy.plan(info, {})];
		} catch (error) {
			if (error instanceof PlanError) return [];
			throw error;
		}
	});
}
