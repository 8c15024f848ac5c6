/**
 * The engine in a Web Worker of the page, on the visitor's own GPU: opened once for a model, then a picture at a time.
 * It writes the events that a job of the edge would have.
 */

import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { httpSource } from "../../model-shards/format/source/http.ts";
import { type LoadedModel, openGpu, openModel, policies, type RgbImage } from "../engine/browser.ts";
import { openModelSource } from "../families/folder.ts";
import type { JobEvent, ScaleEvent, Trunk } from "../protocol/job.ts";
import { trunkFor, trunkOf } from "../protocol/trunk.ts";
import type { Ask } from "./edge.ts";
import type { FromEngine, ToEngine } from "./engine-messages.ts";
import { cachedInBrowser } from "./model-cache.ts";
import { exifOfSettings, withExif } from "./picture-file.ts";

interface Opened {
	gpu: Gpu;
	model: LoadedModel;
}

const say = (message: FromEngine) => postMessage(message);
/** By the URL of its files; one at a time, since a visitor's GPU is small. */
let opened: { files: string; engine: Promise<Opened> } | undefined;
/** Scales of the newest pictures made here, for others to go on from; an older one's are made anew. */
const made = new Map<string, { seed: number; trunk?: Trunk; scales: ScaleEvent[] }>();
const KEPT = 24;
const stops = new Map<number, AbortController>();

addEventListener("message", async ({ data }: MessageEvent<ToEngine>) => {
	if (data.kind === "stop") return stops.get(data.id)?.abort();
	const { id, files, ask } = data;
	const stop = new AbortController();
	stops.set(id, stop);
	try {
		const engine = await open(files);
		for await (const event of picture(engine, ask, stop.signal)) say({ kind: "event", id, event });
		say({ kind: "end", id });
	} catch (error) {
		const { message } = error as Error;
		say({ kind: "failed", id, code: error instanceof Gone ? "job_not_found" : "engine", message });
	} finally {
		stops.delete(id);
	}
});

class Gone extends Error {}

async function open(files: string): Promise<Opened> {
	if (opened?.files === files) return await opened.engine;
	const mine = (opened = { files, engine: load(files, opened?.engine) });
	const forget = () => {
		if (opened === mine) opened = undefined;
	};
	try {
		const engine = await mine.engine;
		// The next picture opens another device.
		engine.gpu.lost.then(forget);
		return engine;
	} catch (error) {
		forget();
		throw error;
	}
}

async function load(files: string, before: Promise<Opened> | undefined): Promise<Opened> {
	const last = await before?.catch(() => undefined);
	last?.model.destroy();
	last?.gpu.destroy();
	const gpu = await openGpu();
	try {
		const folder = await openModelSource(cachedInBrowser(httpSource(files)));
		const progress = (done: number, total: number) => say({ kind: "loading", done, total });
		return { gpu, model: await openModel(gpu, folder, { progress }) };
	} catch (error) {
		gpu.destroy();
		throw error;
	}
}

async function* picture({ gpu, model }: Opened, ask: Ask, signal: AbortSignal): AsyncGenerator<JobEvent> {
	const { info, numerics } = model;
	const policy = policies[ask.policy];
	if (!policy) throw new RangeError(`There is no policy "${ask.policy}".`);
	let plan = policy.plan(info, { schedule: ask.schedule });
	const seed = Number(ask.seed);
	const { grids, image } = info.schedules[plan.schedule];
	const from = ask.from === undefined ? undefined : made.get(ask.from);
	if (ask.from !== undefined && !from) throw new Gone("The picture to go on from is not here any more.");
	const scales = from?.scales.slice(0, Number(ask.scales)) ?? [];
	const trunk = from && trunkFor(trunkOf(from, scales.length), seed);
	// The page keeps the name for longer than this engine lives: no other one may ever give it again.
	const job = `here-${crypto.randomUUID()}`;
	const { width, height } = image;
	yield { type: "plan", job, model: info.id, policy: plan.policy, seed, width, height, plan, grids };
	made.set(job, { seed, trunk, scales: [...scales] });
	for (const old of [...made.keys()].slice(0, -KEPT)) made.delete(old);
	for (const scale of scales) yield scale;
	const begun = performance.now();
	const until = ask.until === undefined ? undefined : Number(ask.until);
	const label = ask.class === undefined ? undefined : Number(ask.class);
	const subject = label === undefined ? { prompt: ask.prompt } : { class: label };
	const about = () =>
		exifOfSettings({
			...subject,
			seed,
			plan,
			model: info.id,
			digest: info.digest,
			numerics,
			...(trunk && { trunk }),
		});
	const final = async (image: RgbImage): Promise<JobEvent> => {
		const bytes = withExif(await png(image), about());
		return {
			type: "final",
			seed,
			width: image.width,
			height: image.height,
			milliseconds: performance.now() - begun,
			mime: "image/png",
			base64: toBase64(bytes),
			sha256: hex(await crypto.subtle.digest("SHA-256", bytes)),
			digest: info.digest,
			numerics,
			adapter: `${gpu.facts.name}, in this browser`,
		};
	};
	const forcedCodes = scales.map(({ codes }) => fromBase64(codes));
	const options = { plan, prompt: ask.prompt, label, seed, previews: "all", forcedCodes, until, signal } as const;
	for await (const result of model.generate(options)) {
		if (result.kind === "revision") {
			plan = result.plan;
			yield { type: "revision", after: result.after, measured: result.measured, plan };
		} else if (result.kind === "scale") {
			const { index, grid, stage, step, steps, codes, preview, milliseconds } = result;
			const event: ScaleEvent = {
				type: "scale",
				index,
				grid,
				stage,
				step,
				steps,
				milliseconds: milliseconds.transformer + milliseconds.preview,
				codes: toBase64(codes),
				mime: preview && "image/png",
				base64: preview && toBase64(await png(preview)),
			};
			made.get(job)?.scales.push(event);
			yield event;
			if (index === until && preview && step < steps) yield await final(preview);
		} else yield await final(result.image);
	}
}

async function png({ width, height, data }: RgbImage): Promise<Uint8Array<ArrayBuffer>> {
	const pixels = new ImageData(width, height);
	for (let i = 0; i < width * height; i++) pixels.data.set([data[3 * i], data[3 * i + 1], data[3 * i + 2], 255], 4 * i);
	const canvas = new OffscreenCanvas(width, height);
	canvas.getContext("2d")?.putImageData(pixels, 0, 0);
	return new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
}

function toBase64(bytes: Uint8Array): string {
	let text = "";
	for (const byte of bytes) text += String.fromCharCode(byte);
	return btoa(text);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

function hex(bytes: ArrayBuffer): string {
	return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
