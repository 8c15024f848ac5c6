/**
 * ONNX Runtime's providers as contenders: onnxruntime-node (its own Dawn, and its CPU provider) and onnxruntime-web
 * (WebGPU of this process).
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-common";
import { operatorGraphs } from "../onnx/operators.ts";
import type { Contender, Peer } from "./contender.ts";
import { webGpuOnNavigator } from "./navigator.ts";
import { dataOf, type Workload } from "./workloads.ts";

/** What the two packages have in common. */
export interface Runtime {
	InferenceSession: { create(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession> };
	Tensor: TensorConstructor;
}
export interface Provider {
	name: string;
	cpu?: boolean;
	/** Throws where the runtime cannot be loaded here. */
	load(): Promise<Runtime>;
	executionProvider: string;
}

export const PROVIDERS: readonly Provider[] = [
	{ name: "onnxruntime-node cpu", cpu: true, load: () => import("onnxruntime-node"), executionProvider: "cpu" },
	{ name: "onnxruntime-node", load: () => import("onnxruntime-node"), executionProvider: "webgpu" },
	{ name: "onnxruntime-web", load: loadWeb, executionProvider: "webgpu" },
];

/** Errors only: its warnings about constant graphs say nothing here. */
const QUIET = 3;

async function loadWeb(): Promise<Runtime> {
	await webGpuOnNavigator();
	const ort = await import("onnxruntime-web/webgpu");
	const wasm = fileURLToPath(import.meta.resolve("onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm"));
	// It would fetch the file by its URL, which Node does not do for files; its threads are browser workers.
	ort.env.wasm.wasmBinary = readFileSync(wasm);
	ort.env.wasm.numThreads = 1;
	return ort;
}

export function operatorPeer({ name, cpu, load, executionProvider }: Provider): Peer<Workload> {
	return {
		name,
		cpu,
		async *open(work) {
			const runtime = await load();
			for (const { how, model, read } of operatorGraphs(work, dataOf(work))) {
				const session = await runtime.InferenceSession.create(model, {
					executionProviders: [executionProvider],
					graphOptimizationLevel: "disabled",
					logSeverityLevel: QUIET,
				});
				yield { how, contender: contender(session, {}, ["y"], ({ y }) => read(y.data)) };
			}
		},
	};
}

export type Results = Record<string, { data: Float32Array }>;

/** `done` is fetched when timed, `outputs` when compared. */
export function contender(
	session: InferenceSession,
	feeds: Record<string, Tensor>,
	outputs: readonly string[],
	read: (results: Results) => Float32Array,
): Contender {
	return {
		run: async () => void (await session.run(feeds, ["done"])),
		result: async () => read((await session.run(feeds, outputs)) as unknown as Results).slice(),
		close: () => session.release(),
	};
}

export const sessionOptions = (provider: Provider): InferenceSession.SessionOptions => ({
	executionProviders: [provider.executionProvider],
	logSeverityLevel: QUIET,
});
