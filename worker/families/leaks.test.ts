/** A graph that there is no memory for: whatever it had allocated by then is given back. */
import { expect, it } from "vitest";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import { SMALL_HEAD } from "../../model-shards/testing.ts";
import type { Described } from "./checkpoints.ts";
import { Weights } from "./shared/weights.ts";
import { randomModel } from "./testing/random-model.ts";
import type { ClipTextConfig, Qwen2Config, WordTransformerConfig } from "./text/config.ts";
import { residentPrompts } from "./text/device-encoder.ts";

/** Has memory for `left` tensors more. */
class Short extends Gpu {
	left = Infinity;
	override tensor(...args: Parameters<Gpu["tensor"]>): ReturnType<Gpu["tensor"]> {
		if (this.left-- <= 0) throw new RangeError(`no memory for ${args[0]}`);
		return super.tensor(...args);
	}
}

const gpu = await sharedGpu();

const text = { width: 16, heads: 2, layers: 1, ffn: 16, vocabulary: 8, maxTokens: 4, normEps: 1e-5 };
const words: WordTransformerConfig = { kind: "word-transformer", ...text, padId: 0, unknownId: 1, endId: 2 };
const clip: ClipTextConfig = { kind: "clip-text", ...text, activation: "gelu", startId: 1, endId: 2 };
const qwen: Qwen2Config = { kind: "qwen2", ...text, kvHeads: 1, ropeTheta: 1e4, padId: 0, padSide: "right" };
const shape = { depth: 2, width: 16, heads: 2, ffn: 32, normEps: 1e-6 };
const picture = {
	codebook: { vocabulary: 16, channels: 4, phis: 2 },
	vae: { baseChannels: 8, multipliers: [1, 2], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
};
const ofText = { textChannels: 16, textMaxTokens: 4 };
const residual = { width: 8, depth: 1, steps: 2 };

it.each<[string, object]>([
	["infinity", { ...SMALL_HEAD.config, textChannels: 16, textEncoder: words }],
	["var", { ...shape, ...picture, classes: 3, adaln: "block", normalised: true, scales: 2, tokens: 5 }],
	["star", { ...shape, ...picture, ...ofText, scales: 2, ropeReach: 8, ropeTheta: 1e4, textEncoder: clip }],
	[
		"hart",
		{
			...shape,
			...picture,
			...ofText,
			normalised: true,
			ropeTheta: 1e4,
			residual,
			textEncoder: qwen,
			instructions: "",
		},
	],
])("%s", async (family, config) => {
	const head: Described = { ...SMALL_HEAD, family, config };
	const { folder } = randomModel(head, 1);
	const short = new Short(gpu.device, gpu.facts);
	const { schedules } = folder.manifest;
	const weights = await Weights.load(short, folder);
	const input = { gpu: short, config: folder.config, facts: folder.facts, weights, schedules };
	const before = short.bytes;
	const made = (tensors: number) => {
		short.left = tensors;
		try {
			using scope = new Scope(short);
			const prompts = residentPrompts(scope, short, folder.facts.text?.encoder, weights);
			const graph = folder.family.graph({ ...input, slots: 2, prompts, instructions: [] });
			const owned = scope.move();
			return { ...graph, destroy: () => [graph.destroy(), owned[Symbol.dispose]()] };
		} catch (error) {
			expect((error as Error).message).toMatch(/^no memory for /);
			return null;
		}
	};
	let tensors = 0;
	let graph = made(tensors);
	while (!graph) {
		expect(short.bytes, `where there is memory for ${tensors} tensors`).toBe(before);
		graph = made(++tensors);
	}
	expect(tensors).toBeGreaterThan(5);
	expect(short.bytes).toBeGreaterThan(before);
	graph.destroy();
	expect(short.bytes).toBe(before);
	short.left = Infinity;
	weights.destroy();
});
