/** Two small models in one worker, whose budget holds one of them at a time. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importReferenceSet } from "../../../model-shards/import/reference.ts";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import { memoryNeed } from "../../engine/paper/memory.ts";
import type { GenerateResult, LoadedModel } from "../../engine/types.ts";
import { policies } from "../../policies/index.ts";
import { type Device, openDevice } from "../models.ts";
import { readSettings } from "../settings.ts";

const REFERENCE = join(import.meta.dirname, "..", "..", "..", "test", "reference");
const WORKER_SECRET = "0123456789abcdef";

export interface TwoModels extends AsyncDisposable {
	device: Device;
	/** Of the models, the first that is served and another one. */
	ids: [string, string];
	/** Bytes on the device before any model was there. */
	bare: number;
	memory: number;
}

/** A worker's device with both. `share`: of the larger one's need, what all of them may take. */
export async function twoModels(share = 1): Promise<TwoModels> {
	const dir = await mkdtemp(join(tmpdir(), "turns-"));
	await importReferenceSet(join(REFERENCE, "var-tiny", "manifest.json"), dir);
	const folders = [await openModelFolder(findModel("tiny")), await openModelFolder(dir)];
	const needs = folders.map((folder) => memoryNeed(folder, { textTokens: folder.info.maxPromptTokens }).total);
	const memory = Math.floor(share * Math.max(...needs));
	const settings = readSettings({ WORKER_SECRET, MODELS: `tiny,${dir}`, MEMORY: `${memory}`, SLOTS: "1" });
	const removed = () => rm(dir, { recursive: true });
	const device = await openDevice(settings, () => {}).catch(async (error) => {
		await removed();
		throw error;
	});
	const ids = folders.map(({ info }) => info.id) as [string, string];
	return {
		device,
		ids,
		bare: device.gpu.bytes,
		memory,
		async [Symbol.asyncDispose]() {
			device.close();
			await removed();
		},
	};
}

/** A picture of a model, as a list of its codes and its pixels. */
export async function picture(model: LoadedModel, seed: number): Promise<Uint8Array[]> {
	const subject = model.info.classes === undefined ? { prompt: "a photo of a cat" } : { label: 1 };
	const plan = policies.exact.plan(model.info, {});
	const results = await Array.fromAsync(model.generate({ plan, ...subject, seed, previews: "none" }));
	return results.map((result: GenerateResult) =>
		result.kind === "scale" ? result.codes : result.kind === "final" ? result.image.data : new Uint8Array(),
	);
}

/**
 * So many pictures, by turns and now and then asked for at once. Returns what was on the device after each, by model,
 * and what each model's first picture of a seed differs in from later ones: nothing.
 */
export async function takeTurns({ device: { models, gpu }, ids }: TwoModels, pictures: number) {
	const bytes: Record<string, Set<number>> = Object.fromEntries(ids.map((id) => [id, new Set()]));
	const drawn = new Map<string, string>();
	let [different, most] = [0, 0];
	const draw = (id: string, seed: number) =>
		models.use(id, async (model) => {
			const made = Buffer.concat(await picture(model, seed)).toString("base64");
			const key = `${id} ${seed}`;
			if ((drawn.get(key) ?? made) !== made) different++;
			drawn.set(key, made);
			bytes[id].add(gpu.bytes);
			most = Math.max(most, gpu.bytes);
		});
	for (let i = 0; i < pictures; i += 2) {
		const both = ids.map((id) => () => draw(id, i % 6));
		if (i % 20 === 0) await Promise.all(both.map((each) => each()));
		else for (const each of both) await each();
	}
	return { bytes, different, most };
}
