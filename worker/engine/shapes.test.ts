/**
 * What is tuned is what is run: models of every family and text encoder, recorded on Dawn's null backend, which has the
 * features and runs nothing, ask for no choice that `kernelShapes` does not list.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { create, globals } from "webgpu";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Tuning } from "../../kernels/gpu/variants.ts";
import { trials, tuningId } from "../../kernels/tune.ts";
import { halves } from "../../model-shards/format/layout.ts";
import type { Described } from "../families/checkpoints.ts";
import type { InfinityConfig } from "../families/infinity/config.ts";
import { randomModel } from "../families/testing/random-model.ts";
import type { TextEncoderConfig } from "../families/text/config.ts";
import { policies } from "../policies/index.ts";
import { openModel } from "./open.ts";
import { kernelShapes } from "./shapes.ts";

Object.assign(globalThis, globals);
// Kept: Dawn does not survive the loss of an instance whose devices live.
const nullBackend = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
/** With subgroup matrices. */
let gpu: Gpu;
beforeAll(async () => {
	const adapter = await nullBackend.requestAdapter();
	if (!adapter) throw new Error("Dawn has no null backend");
	const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = adapter.limits;
	const device = await adapter.requestDevice({
		requiredFeatures: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix" as GPUFeatureName],
		requiredLimits: { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize },
	});
	const facts = { name: "null", software: true, late: false, runtime: "node", driver: "null", lanes: 4 } as const;
	gpu = new Gpu(device, { ...facts, matrix: { m: 16, n: 16, k: 16, lanes: 128, subgroups: 2 } });
});
afterAll(() => gpu.destroy());

/** What is looked up of the tuning from now on; opening a model puts no other in its place. */
function watched(): ReadonlySet<string> {
	const asked = new Set<string>();
	const tuning = new Proxy<Tuning>({}, { get: (_, key) => void asked.add(String(key)) });
	// What was chosen for the model before is forgotten.
	Reflect.deleteProperty(gpu, "tuning");
	gpu.tuning = {};
	Object.defineProperty(gpu, "tuning", { get: () => tuning, set: () => {}, configurable: true });
	return asked;
}

const schedule = (last: [number, number], ...before: [number, number][]) => ({
	grids: [[1, 1], ...before, last] as [number, number][],
	image: { height: 2 * last[0], width: 2 * last[1] },
});
const TWO = {
	schedules: { "1:1": schedule([4, 4], [2, 2]), "2:1": schedule([12, 6], [6, 3]) },
	defaultSchedule: "1:1",
	sampling: { guidance: 3, tau: 1, topK: 1, topP: 0 },
	licence: "Random weights.",
};
const TRANSFORMER = { depth: 1, width: 32, heads: 2, ffn: 48, normEps: 1e-6 };
const VAE = { baseChannels: 8, multipliers: [1, 2], residualBlocks: 1, normGroups: 4, normEps: 1e-6 };
const CODEBOOK = { vocabulary: 64, channels: 16, phis: 2 };
const ENCODER = { width: 40, heads: 2, layers: 1, ffn: 56, vocabulary: 20, normEps: 1e-6 };
const TEXT = { textChannels: 40, textMaxTokens: 24 };

const infinity = (textEncoder: TextEncoderConfig): Described => {
	const one = { ...TRANSFORMER, ...TEXT, chunkBlocks: 1, poolHeads: 4, bits: 16, vae: VAE };
	const config: InfinityConfig = { ...one, ropeReach: { "1:1": [4, 4], "2:1": [12, 6] }, textEncoder };
	return { ...TWO, name: "infinity", family: "infinity", config };
};
const models: Record<string, () => Described> = {
	"Infinity with its own encoder": () =>
		infinity({ ...ENCODER, kind: "word-transformer", maxTokens: 24, padId: 0, unknownId: 1, endId: 2 }),
	"Infinity with T5": () => infinity({ ...ENCODER, kind: "t5", maxTokens: 24, headDim: 12, buckets: 8, distance: 16 }),
	...Object.fromEntries(
		(["block", "shared"] as const).map((adaln) => [
			`VAR with AdaLN by ${adaln}`,
			(): Described => {
				// Positions are learned: one tokens by scale for all schedules.
				const config = { ...TRANSFORMER, classes: 3, adaln, normalised: true, scales: 3, tokens: 21 };
				const all = { ...config, codebook: CODEBOOK, vae: VAE };
				const schedules = { "1:1": TWO.schedules["1:1"] };
				return { ...TWO, schedules, name: "var", family: "var", config: all };
			},
		]),
	),
	"STAR with CLIP": () => {
		const encoder = {
			...ENCODER,
			kind: "clip-text",
			maxTokens: 24,
			activation: "gelu",
			startId: 18,
			endId: 19,
		} as const;
		const rope = { scales: 3, ropeReach: 64, ropeTheta: 10000 };
		const config = { ...TRANSFORMER, ...TEXT, ...rope, codebook: CODEBOOK, vae: VAE, textEncoder: encoder };
		return { ...TWO, name: "star", family: "star", config };
	},
	"HART with Qwen2": () => {
		const own = { kvHeads: 1, ropeTheta: 10000, padId: 0, padSide: "right" } as const;
		const textEncoder = { ...ENCODER, width: 48, heads: 3, kind: "qwen2", maxTokens: 24, ...own } as const;
		const more = { normalised: true, ropeTheta: 10000, residual: { width: 24, depth: 1, steps: 5 }, instructions: "" };
		const text = { textChannels: 48, textMaxTokens: 24 };
		const config = { ...TRANSFORMER, ...text, ...more, codebook: CODEBOOK, vae: VAE, textEncoder };
		return { ...TWO, name: "hart", family: "hart", config };
	},
};

it.each(Object.keys(models))("%s: every choice of a picture by any schedule is among the shapes", async (name) => {
	const described = models[name]();
	const { folder } = randomModel(described, 3);
	for (const dtype of ["f32", "f16"] as const) {
		const asked = watched();
		const shapes = kernelShapes(folder, dtype);
		const model = await openModel(gpu, folder, { dtype });
		for (const schedule of Object.keys(described.schedules)) {
			const plan = policies.exact.plan(model.info, { schedule });
			const subject =
				described.family === "var"
					? { label: 1 }
					: { draws: new Map([["text.ids", Int32Array.from({ length: 9 }, (_, i) => 3 + i)]]) };
			for await (const _ of model.generate({ plan, seed: 1, previews: "none", ...subject }));
		}
		model.destroy();
		const known = trials(shapes).flatMap(({ key, orderKey }) => [key, ...(orderKey ? [orderKey] : [])]);
		expect([...asked].filter((key) => !known.includes(key))).toEqual([]);
		expect(asked.size).toBeGreaterThan(20);
	}
});

it.each(Object.keys(models))("%s: an order of any of its f16 matrices changes the numerics id", (name) => {
	const { folder } = randomModel(models[name](), 3);
	const shapes = kernelShapes(folder, "f16");
	const id = (tuning: Tuning, of = shapes) => {
		Object.defineProperty(gpu, "tuning", { value: tuning, configurable: true });
		return tuningId(gpu, of);
	};
	const plain = id({});
	const matrices = folder.wanted.filter((tensor) => tensor.layout === "matrix" && halves(tensor));
	expect(matrices.length).toBeGreaterThan(8);
	for (const { name, shape } of matrices) {
		const [n, k] = shape;
		const order = { [`order matmul f16 ${k}x${Math.ceil(n / 4) * 4}`]: "matrix" };
		expect(id(order), name).not.toBe(plain);
		expect(id(order, kernelShapes(folder, "f32")), name).toBe(plain);
	}
	expect(id({ "order matmul f16 1x4": "matrix" })).toBe(plain);
});
