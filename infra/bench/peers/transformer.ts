/** A model's whole transformer: the engine against its export, scale by scale on the same inputs. */
import type { Tensor } from "onnxruntime-common";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { openModelFolder } from "../../../model-shards/open.ts";
import { openModel } from "../../../worker/engine/open.ts";
import { transformerFlops } from "../../../worker/engine/paper/flops.ts";
import type { LoadedModel, TappedTensor } from "../../../worker/engine/types.ts";
import { infinity } from "../../../worker/families/infinity/index.ts";
import { configOf } from "../../../worker/families/model.ts";
import { exact } from "../../../worker/policies/exact.ts";
import type { StagePlan } from "../../../worker/protocol/plan.ts";
import { conditionGraph, type ExportedModel, FORMULATIONS, transformerGraph } from "../onnx/transformer.ts";
import { HostWeights } from "../onnx/weights.ts";
import { type Contender, type Peer, relativeError } from "./contender.ts";
import { contender, type Provider, type Results, type Runtime, sessionOptions } from "./onnxruntime.ts";
import { joined } from "./workloads.ts";

export interface Generation {
	model: LoadedModel;
	plan: StagePlan;
	exported: ExportedModel;
	flops: number;
	/** Inputs of every scale and what the text gave, as the engine computed them. */
	taps: ReadonlyMap<string, TappedTensor>;
	/** Logits of every scale, one after another. */
	logits: Float32Array;
}

const PROMPT = "a photo of a red apple";
const SEED = 1;
/** A runtime's formulations are tried on the first scales alone. */
const TRIED_SCALES = 4;
const TRIED_TOLERANCE = 1e-4;

/** Generates once with the taps that the export needs. The model stays on the device until it is destroyed. */
export async function generateTapped(gpu: Gpu, dir: string): Promise<Generation> {
	const folder = await openModelFolder(dir);
	const model = await openModel(gpu, folder);
	const plan = exact.plan(model.info, {});
	// Beforehand, so that nothing keeps an interrupt waiting.
	await model.compile([plan]);
	const schedule = model.info.schedules[plan.schedule];
	const taps = new Map<string, TappedTensor>();
	const wants = (name: string) => /^s\d+\.(block_in|logits_pre)$|^text\.(sos|shared_gss|kv_proj)$/.test(name);
	for await (const _ of model.generate({
		plan,
		prompt: PROMPT,
		seed: SEED,
		previews: "none",
		tap: { wants, take: (tensor) => taps.set(tensor.name, tensor) },
	}));
	const config = configOf(folder, infinity);
	const textTokens = taken(taps, "text.kv_proj").length / 2 / config.width;
	const exported = {
		config,
		weights: await HostWeights.read(folder),
		grids: schedule.grids,
		reach: config.ropeReach[plan.schedule],
		textTokens,
	};
	const flops = transformerFlops(folder, schedule, plan, textTokens).reduce((sum, flops) => sum + flops, 0);
	return {
		model,
		plan,
		exported,
		flops,
		taps,
		logits: joined(schedule.grids.map((_, scale) => taken(taps, `s${scale}.logits_pre`))),
	};
}

/**
 * The engine's own path: sampling, reading codes and preparing the next input are in its time, text and decoder are
 * not.
 */
export function engine({ model, plan, logits }: Generation): Contender {
	return {
		async run() {
			let milliseconds = 0;
			for await (const result of model.generate({ plan, prompt: PROMPT, seed: SEED, previews: "none" })) {
				if (result.kind === "scale") milliseconds += result.milliseconds.transformer;
			}
			return milliseconds;
		},
		result: async () => logits,
		close: async () => model.destroy(),
	};
}

/**
 * The export on one of ONNX Runtime's providers, in the formulation that is the fastest of the right ones on the first
 * scales.
 */
export function transformerPeer(provider: Provider): Peer<Generation> {
	const { name, cpu, load } = provider;
	return {
		name,
		cpu,
		async *open(generation) {
			const runtime = await load();
			const feeds = await conditionFeeds(runtime, generation);
			const tried = { ...generation.exported, grids: generation.exported.grids.slice(0, TRIED_SCALES) };
			let best: { how: (typeof FORMULATIONS)[number]; milliseconds: number } | undefined;
			for (const how of FORMULATIONS) {
				const candidate = await exportedContender(runtime, provider, generation, tried, how, feeds);
				const logits = await candidate.result();
				if (relativeError(logits, generation.logits.subarray(0, logits.length)) <= TRIED_TOLERANCE) {
					const begun = performance.now();
					await candidate.run();
					const milliseconds = performance.now() - begun;
					if (!best || milliseconds < best.milliseconds) best = { how, milliseconds };
				}
				await candidate.close();
			}
			if (!best) throw new Error("no formulation of the transformer gives the engine's logits");
			yield {
				how: best.how,
				contender: await exportedContender(runtime, provider, generation, generation.exported, best.how, feeds),
			};
		},
	};
}

export async function exportedContender(
	runtime: Runtime,
	provider: Provider,
	{ taps }: Generation,
	exported: ExportedModel,
	how: (typeof FORMULATIONS)[number],
	condition: Record<string, Tensor>,
): Promise<Contender> {
	const session = await runtime.InferenceSession.create(transformerGraph(exported, how), sessionOptions(provider));
	const feeds = { ...condition };
	exported.grids.forEach(
		(_, scale) =>
			(feeds[`x_${scale}`] = tensor(runtime, taken(taps, `s${scale}.block_in`), [2, -1, exported.config.width])),
	);
	const outputs = exported.grids.map((_, scale) => `logits_${scale}`);
	return contender(session, feeds, outputs, (results: Results) =>
		joined(outputs.map((output) => results[output].data)),
	);
}

/** What the text gives every scale, computed on the CPU once: not part of the comparison. */
export async function conditionFeeds(
	runtime: Runtime,
	{ exported, taps }: Generation,
): Promise<Record<string, Tensor>> {
	const { width } = exported.config;
	const session = await runtime.InferenceSession.create(conditionGraph(exported), { executionProviders: ["cpu"] });
	const given = (name: string, shape: number[]) => tensor(runtime, taken(taps, name), shape);
	const results = await session.run({
		sos: given("text.sos", [2, width]),
		shared_gss: given("text.shared_gss", [2, 6, width]),
		kv_proj: given("text.kv_proj", [2, -1, width]),
	});
	await session.release();
	return results as Record<string, Tensor>;
}

function tensor(runtime: Runtime, data: Float32Array, shape: number[]): Tensor {
	const known = shape.reduce((product, size) => (size < 0 ? product : product * size), 1);
	return new runtime.Tensor(
		"float32",
		data,
		shape.map((size) => (size < 0 ? data.length / known : size)),
	);
}

function taken(taps: ReadonlyMap<string, TappedTensor>, name: string): Float32Array {
	const tensor = taps.get(name);
	if (!tensor) throw new Error(`The engine gave no ${name}.`);
	return tensor.data as Float32Array;
}
