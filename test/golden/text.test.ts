/**
 * Text encoders as users have them: a published folder, imported, loaded and run, against PyTorch's states of the same
 * weights.
 */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { Pass } from "../../kernels/gpu/pass.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import type { Tensor } from "../../kernels/gpu/tensor.ts";
import { maxError } from "../../kernels/testing.ts";
import { readJson } from "../../model-shards/format/source/files.ts";
import { openSafetensors } from "../../model-shards/import/formats/safetensors.ts";
import { importPublished, publishedTensors } from "../../model-shards/import/published.ts";
import { syntheticSource } from "../../model-shards/import/synthetic.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel, TappedTensor } from "../../worker/engine/types.ts";
import type { Described } from "../../worker/families/checkpoints.ts";
import type { Family } from "../../worker/families/family.ts";
import { hartConfigFromReference } from "../../worker/families/hart/official.ts";
import type { InfinityConfig } from "../../worker/families/infinity/config.ts";
import { infinity } from "../../worker/families/infinity/index.ts";
import { configOf, familyOf } from "../../worker/families/model.ts";
import type { Schedules } from "../../worker/families/shared/schedules.ts";
import { type Dtype, Weights } from "../../worker/families/shared/weights.ts";
import type { StarConfig } from "../../worker/families/star/config.ts";
import { starConfigFromReference } from "../../worker/families/star/official.ts";
import { relativeBuckets } from "../../worker/families/text/relative.ts";
import { PADDING, TextTransformer } from "../../worker/families/text/transformer.ts";
import { policies } from "../../worker/policies/index.ts";

const reference = (name: string) => join(import.meta.dirname, "..", "reference", name);
const WIDTH = 32;
const gpu = await sharedGpu();
let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "text-"));
});
afterAll(() => rm(dir, { recursive: true }));

/** The recordings of a set by name. */
async function golden(set: string): Promise<Record<string, Float32Array | Int32Array>> {
	await using source = await openSafetensors(join(reference(set), "golden.safetensors"));
	const tensors: Record<string, Float32Array | Int32Array> = {};
	for (const [name, { dtype }] of source.tensors) {
		const { buffer } = await source.read(name);
		tensors[name] = dtype === "I32" ? new Int32Array(buffer) : new Float32Array(buffer);
	}
	return tensors;
}

/** Picture models of two families, small, with random weights and no text encoder yet. */
async function infinityHead(): Promise<Described<InfinityConfig>> {
	const { manifest, ...model } = await openModelFolder(findModel("tiny"));
	const { name, schedules, defaultSchedule, sampling, licence } = manifest;
	const config = { ...configOf({ manifest, ...model }, infinity), textChannels: WIDTH, textMaxTokens: 512 };
	return {
		name,
		family: "infinity",
		config: { ...config, textEncoder: null },
		schedules,
		defaultSchedule,
		sampling,
		licence,
	};
}
async function starHead(): Promise<Described<StarConfig>> {
	const set = (await readJson(join(reference("star-tiny"), "manifest.json"))) as { config: object; vae_config: object };
	return {
		name: "star",
		family: "star",
		config: starConfigFromReference({ ...set.config, in_dim_cross: WIDTH }, set.vae_config),
		schedules: SMALL,
		defaultSchedule: "1:1",
		sampling: { guidance: [1, 5.5], tau: 1, topK: 1, topP: 0 },
		licence: "none",
	};
}
const SMALL: Schedules = {
	"1:1": {
		grids: [
			[1, 1],
			[2, 2],
		],
		image: { height: 32, width: 32 },
	},
};

/** Imports a picture model with the encoder of `textEncoder`, as `firstlight import --text-encoder` does. */
async function imported(head: Described, textEncoder: string, tokenizer?: null) {
	const of = familyOf(head.family);
	const family: Family = { ...of, published: { sizes: ["tiny"], describe: () => ({ head }) } };
	const out = await mkdtemp(join(dir, "model-"));
	await importPublished(
		family,
		"tiny",
		publishedTensors(family, "tiny").map((tensors, i) => syntheticSource(`file ${i}`, tensors, "F32")),
		{ textEncoder, tokenizer, out },
	);
	return await openModelFolder(out);
}

/** The encoder alone: features of each text, by the imported weights. */
async function encoder(head: Described, textEncoder: string, dtype?: Dtype) {
	const folder = await imported(head, textEncoder, null);
	const config = folder.facts.text?.encoder;
	if (!config) throw new Error("imported without its text encoder");
	const weights = await Weights.load(gpu, folder, undefined, dtype);
	const scope = new Scope(gpu);
	const transformer = new TextTransformer(gpu, scope, config, weights);
	return {
		config,
		weights,
		async encode(ids: Int32Array): Promise<Float32Array> {
			const features: Tensor = gpu.tensor("features", [ids.length, WIDTH]);
			const pass = gpu.pass("encode");
			const padId = config.kind === "qwen2" ? config.padId : undefined;
			transformer.record(
				pass,
				Array.from(ids, (id) => (id === padId ? PADDING : id)),
				features,
			);
			const [data] = await pass.submit([features]);
			gpu.free(features);
			return new Float32Array(data, 0, ids.length * WIDTH);
		},
		[Symbol.dispose]() {
			scope[Symbol.dispose]();
			weights.destroy();
		},
	};
}

/** Largest error over the recorded texts. */
async function worst(
	encode: (ids: Int32Array) => Promise<Float32Array>,
	recorded: Awaited<ReturnType<typeof golden>>,
	texts: readonly (number | string)[],
	features: string,
): Promise<number> {
	let most = 0;
	for (const text of texts)
		most = Math.max(
			most,
			maxError(await encode(recorded[`${text}.ids`] as Int32Array), recorded[`${text}.${features}`]),
		);
	return most;
}

describe("states of whole texts are PyTorch's", () => {
	it("T5: short and long ones, from a checkpoint in parts", async () => {
		const before = gpu.bytes;
		{
			using t5 = await encoder(await infinityHead(), reference("t5-tiny"));
			expect(t5.config).toEqual({
				kind: "t5",
				width: 32,
				heads: 3,
				headDim: 8,
				layers: 2,
				ffn: 40,
				vocabulary: 64,
				maxTokens: 512,
				buckets: 32,
				distance: 128,
				normEps: 1e-6,
			});
			expect(await worst((ids) => t5.encode(ids), await golden("t5-tiny"), [1, 6, 210], "features")).toBeLessThan(2e-5);
		}
		expect(gpu.bytes).toBe(before);
	});

	it("T5 in half precision, but for the matrix whose input may leave its range", async ({ skip }) => {
		skip(!gpu.device.features.has("shader-f16"), "the adapter has no shader-f16");
		using t5 = await encoder(await infinityHead(), reference("t5-tiny"), "f16");
		const layer = "text_encoder.encoder.block.1.layer.1.DenseReluDense";
		expect(["wi_0", "wi_1", "wo"].map((name) => t5.weights.get(`${layer}.${name}.weight`).dtype)).toEqual([
			"f16",
			"f16",
			undefined,
		]);
		expect(await worst((ids) => t5.encode(ids), await golden("t5-tiny"), [1, 6, 210], "features")).toBeLessThan(3e-2);
	});

	it("T5's buckets of relative positions", async () => {
		expect(relativeBuckets(512, 32, 128)).toEqual([...(await golden("t5-tiny")).buckets]);
	});

	it.each(["gelu", "quick_gelu"] as const)("CLIP with %s, whatever follows the end", async (act) => {
		const published = await mkdtemp(join(dir, "clip-"));
		await cp(reference("clip-tiny"), published, { recursive: true });
		await writeFile(
			join(published, "config.json"),
			JSON.stringify({ ...((await readJson(join(published, "config.json"))) as object), hidden_act: act }),
		);
		using clip = await encoder(await starHead(), join(published, "model.safetensors"));
		expect(clip.config).toMatchObject({
			kind: "clip-text",
			layers: 2,
			maxTokens: 77,
			startId: 58,
			endId: 59,
			activation: act.replace("_", "-"),
		});
		expect(
			await worst((ids) => clip.encode(ids), await golden("clip-tiny"), [2, 9, 77], `${act}.features`),
		).toBeLessThan(2e-5);
	});

	it("Qwen2, those of padding too", async () => {
		using qwen2 = await encoder(await infinityHead(), reference("qwen2-tiny"));
		expect(
			await worst((ids) => qwen2.encode(ids), await golden("qwen2-tiny"), ["alone", "behind", "between"], "features"),
		).toBeLessThan(2e-5);
	});
});

describe("pictures of prompts", () => {
	const tokenizer = (words: string[]) => ({
		version: "1.0",
		truncation: null,
		padding: null,
		added_tokens: [],
		normalizer: null,
		pre_tokenizer: { type: "WhitespaceSplit" },
		decoder: null,
		post_processor: null,
		model: { type: "WordLevel", vocab: Object.fromEntries(words.map((word, i) => [word, i])), unk_token: words[0] },
	});

	/** Runs the first scale; gives what was tapped, and how many layers of the text encoder ran. */
	async function draw(
		model: LoadedModel,
		draws: Record<string, Float32Array | Int32Array>,
	): Promise<{ taken: Map<string, ArrayLike<number>>; encoded: number }> {
		const taken = new Map<string, ArrayLike<number>>();
		const run = vi.spyOn(Pass.prototype, "run");
		try {
			const tap = {
				wants: (name: string) => /^(text\.|s0\.head_in)/.test(name),
				take: ({ name, data }: TappedTensor) => void taken.set(name, data),
			};
			for await (const _ of model.generate({
				plan: policies.exact.plan(model.info, {}),
				seed: 1,
				draws: new Map(Object.entries(draws)),
				previews: "none",
				until: 0,
				tap,
			}));
			return { taken, encoded: run.mock.calls.filter(([, { label }]) => label.startsWith("text attention")).length };
		} finally {
			run.mockRestore();
		}
	}

	it("Infinity's features are T5's; a second picture of a prompt runs no encoder and is the same", async () => {
		const recorded = await golden("t5-tiny");
		const model = await openModel(gpu, await imported(await infinityHead(), reference("t5-tiny"), null));
		try {
			const ids = { "text.ids": recorded["6.ids"] };
			const first = await draw(model, ids);
			expect(first.encoded).toBe(2);
			expect(maxError(first.taken.get("text.feats") ?? [], recorded["6.features"])).toBeLessThan(2e-5);
			expect((await draw(model, { "text.ids": recorded["210.ids"] })).encoded).toBe(2);
			expect(await draw(model, ids)).toEqual({ ...first, encoded: 0 });
		} finally {
			model.destroy();
		}
	});

	it("STAR's features and pooled text are CLIP's, of the prompt and of the empty one", async () => {
		const recorded = await golden("clip-tiny");
		const before = gpu.bytes;
		const model = await openModel(gpu, await imported(await starHead(), reference("clip-tiny"), null));
		try {
			expect(model.info.maxPromptTokens).toBe(77);
			const ids = { "text.ids": recorded["9.ids"] };
			const first = await draw(model, ids);
			expect(first.encoded).toBe(4);
			expect(
				maxError((first.taken.get("text.feats") as Float32Array).subarray(0, 9 * WIDTH), recorded["9.gelu.features"]),
			).toBeLessThan(2e-5);
			const [pool, empty] = [0, WIDTH].map((at) =>
				(first.taken.get("text.pool") as Float32Array).subarray(at, at + WIDTH),
			);
			expect(maxError(pool, recorded["9.gelu.pooled"])).toBeLessThan(2e-5);
			expect(empty).toEqual((first.taken.get("text.feats") as Float32Array).subarray(10 * WIDTH));
			expect(await draw(model, ids)).toEqual({ ...first, encoded: 0 });
			// Another prompt, the same empty one.
			expect((await draw(model, { "text.ids": recorded["77.ids"] })).encoded).toBe(2);
		} finally {
			model.destroy();
		}
		expect(gpu.bytes).toBe(before);
	});

	it("STAR computes the same from CLIP's states, padded and masked, as from its encoder", async () => {
		const recorded = await golden("clip-tiny");
		const model = await openModel(gpu, await imported(await starHead(), reference("clip-tiny"), null));
		try {
			const { taken } = await draw(model, { "text.ids": recorded["9.ids"] });
			const features = new Float32Array(2 * 77 * WIDTH);
			const mask = new Int32Array(2 * 77);
			for (const [row, tokens] of [9, 2].entries()) {
				features.set(recorded[`${tokens}.gelu.features`] as Float32Array, row * 77 * WIDTH);
				mask.fill(1, row * 77, row * 77 + tokens);
			}
			const pooled = Float32Array.from([...recorded["9.gelu.pooled"], ...recorded["2.gelu.pooled"]]);
			const given = await draw(model, { "text.feats": features, "text.mask": mask, "text.pool": pooled });
			expect(given.encoded).toBe(0);
			for (const name of ["text.sos", "s0.head_in"])
				expect(maxError(given.taken.get(name) ?? [], taken.get(name) ?? []), name).toBeLessThan(2e-5);
			const other = await draw(model, { "text.ids": recorded["77.ids"] });
			expect(maxError(other.taken.get("s0.head_in") ?? [], taken.get("s0.head_in") ?? [])).toBeGreaterThan(1e-3);
		} finally {
			model.destroy();
		}
	});

	it("HART's features are Qwen2's behind the instructions, padded; the same as when they are given", async () => {
		const { "between.ids": text, "between.features": states } = await golden("qwen2-tiny");
		const published = await mkdtemp(join(dir, "qwen2-"));
		await cp(reference("qwen2-tiny"), published, { recursive: true });
		await rm(join(published, "golden.safetensors"));
		await writeFile(
			join(published, "tokenizer.json"),
			JSON.stringify(tokenizer(Array.from({ length: 50 }, (_, i) => `w${i}`))),
		);
		// Five instructions, six of padding, four of the prompt.
		const set = (await readJson(join(reference("hart-tiny"), "manifest.json"))) as {
			config: object;
			vae_config: object;
		};
		const config = {
			...hartConfigFromReference({ ...set.config, context_dim: WIDTH, context_token: 10 }, set.vae_config),
			instructions: [...text.subarray(0, 5)].map((id) => `w${id}`).join(" "),
		};
		const head: Described = {
			name: "hart",
			family: "hart",
			config,
			schedules: SMALL,
			defaultSchedule: "1:1",
			sampling: { guidance: [1, 5.5], tau: 1, topK: 1, topP: 0 },
			licence: "none",
		};
		const model = await openModel(gpu, await imported(head, published));
		try {
			const ids = { "text.ids": text.slice(11) };
			const first = await draw(model, ids);
			expect(first.encoded).toBe(2);
			expect(maxError(first.taken.get("text.feats") ?? [], states.subarray(5 * WIDTH))).toBeLessThan(2e-5);
			expect(await draw(model, ids)).toEqual({ ...first, encoded: 0 });
			const given = await draw(model, {
				"text.feats": states.slice(5 * WIDTH),
				"text.mask": Int32Array.from({ length: 10 }, (_, token) => Number(token >= 6)),
			});
			expect(maxError(given.taken.get("s0.head_in") ?? [], first.taken.get("s0.head_in") ?? [])).toBeLessThan(1e-4);
			await expect(draw(model, { "text.ids": new Int32Array(11) })).rejects.toThrow(
				/has 11 tokens; this model takes 10/,
			);
		} finally {
			model.destroy();
		}
	});

	it("a prompt goes through the tokenizer that stands beside the encoder", async () => {
		const published = await mkdtemp(join(dir, "t5-"));
		await cp(reference("t5-tiny"), published, { recursive: true });
		await writeFile(join(published, "tokenizer.json"), JSON.stringify(tokenizer(["<unk>", "</s>", "a", "cat"])));
		const model = await openModel(gpu, await imported(await infinityHead(), published));
		try {
			const taken: TappedTensor[] = [];
			const tap = {
				wants: (name: string) => name === "text.ids",
				take: (tensor: TappedTensor) => void taken.push(tensor),
			};
			for await (const _ of model.generate({
				plan: policies.exact.plan(model.info, {}),
				prompt: "a cat a dog",
				seed: 1,
				previews: "none",
				until: 0,
				tap,
			}));
			expect(taken.map(({ data }) => [...data])).toEqual([[2, 3, 2, 0]]);
		} finally {
			model.destroy();
		}
	});
});
