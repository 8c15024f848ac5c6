/**
 * Makes models/tiny: `npx node model-shards/training/make-tiny.ts REFERENCE_DIR OUT`. Transformer and tokenizer of the
 * reference set `infinity-tiny` (random weights) and a small seeded text encoder over emoji-128's words, on short
 * schedules so that a picture takes a fraction of a second on a CPU. Its pictures are noise; engine, kernels and
 * formats are the real ones. The same input gives the same bytes.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { infinityConfigFromReference } from "../../worker/families/infinity/official.ts";
import { infinityTensors } from "../../worker/families/infinity/tensors.ts";
import { pixelsPerCell } from "../../worker/families/shared/vae.ts";
import type { WordTransformerConfig } from "../../worker/families/text/config.ts";
import { emptyPolicies, POLICIES_FILE, policiesText } from "../format/policies.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { openSafetensors } from "../import/formats/safetensors.ts";
import type { SourceTensor, TensorSource } from "../import/formats/tensor-source.ts";
import { shapesOf } from "../import/formats/tensor-source.ts";
import { importModel } from "../import/model.ts";
import { readReferenceSet, referenceGrids, withImages } from "../import/reference.ts";
import { MODELS_DIR, openModelFolder } from "../open.ts";

const TEXT_ENCODER: WordTransformerConfig = {
	kind: "word-transformer",
	width: 256,
	heads: 4,
	layers: 1,
	ffn: 256,
	vocabulary: 205,
	maxTokens: 32,
	padId: 0,
	unknownId: 1,
	endId: 2,
	normEps: 1e-5,
};
const SEED = 20_251_216;
const GRIDS: Record<string, [number, number][]> = {
	"1:1": [
		[1, 1],
		[2, 2],
		[3, 3],
		[4, 4],
	],
	"2:1": [
		[1, 1],
		[2, 1],
		[4, 2],
		[6, 3],
	],
};

const [reference, out] = process.argv.slice(2);
if (!reference || !out) {
	console.error("usage: node model-shards/training/make-tiny.ts REFERENCE_DIR OUT");
	process.exit(2);
}
const dir = join(reference, "infinity-tiny");
const set = await readReferenceSet(join(dir, "manifest.json"));
await using weights = await openSafetensors(join(dir, set.weights_file));
const { reach } = referenceGrids(set);
const bare = infinityConfigFromReference(set.config, set.vae_config, shapesOf(weights), reach);
const patch = pixelsPerCell(bare.vae);
const config = { ...bare, textEncoder: TEXT_ENCODER };
const textTensors = infinityTensors(config).filter(({ name }) => name.startsWith("text_encoder."));

const manifest = await importModel({
	weights: joined(weights, textTensors),
	vae: join(dir, set.vae_file),
	tokenizer: join(MODELS_DIR, "emoji-128", "tokenizer.json"),
	head: {
		name: "tiny",
		family: "infinity",
		config,
		schedules: withImages(GRIDS, patch),
		defaultSchedule: "1:1",
		sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
		licence: "Random weights for tests; free to use for anything.",
	},
	dtype: "f16",
	out,
});
// Made up, so that every policy can be tried on it: there is nothing to measure in noise.
const calibration = {
	structureFrom: 1,
	fidelityFrom: 2,
	measured: {
		skipFrom: 3,
		guidanceTo: 1,
		earlyTau: 0.4,
		rankRatio: { 2: [0.3, 0.45], 3: [0.2, 0.35] },
		detailRatio: { 2: 0.6, 3: 0.4 },
		look: { after: 1, from: 2, hold: 0.6 },
		detail: [0.2, 0.5],
	},
};
const { digest } = await openModelFolder(out);
await writeFile(
	join(out, POLICIES_FILE),
	policiesText({ ...emptyPolicies(digest), calibration: { "1:1": calibration } }),
);
console.log(`${manifest.name}: ${manifest.tensors.length} tensors in ${manifest.shards.length} shards`);

/** The file's tensors and seeded random ones. */
function joined(file: TensorSource, random: readonly TensorShape[]): TensorSource {
	const made = new Map(random.map((tensor) => [tensor.name, seeded(tensor)]));
	const tensors = new Map<string, SourceTensor>(file.tensors);
	for (const { name, shape } of random)
		tensors.set(name, { dtype: "F32", shape, bytes: (made.get(name) as Uint8Array).byteLength });
	return {
		label: file.label,
		tensors,
		read: async (name, from, to) => made.get(name)?.slice(from, to) ?? (await file.read(name, from, to)),
	};
}

/**
 * Word vectors of unit size so that words differ, matrices that keep it, norms that change nothing. Uniform, so that no
 * libm is asked.
 */
function seeded({ name, shape }: TensorShape): Uint8Array<ArrayBuffer> {
	const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
	const deviation = name.includes("_embed.") ? 1 : shape.length === 2 ? shape[1] ** -0.5 : 0;
	if (deviation === 0) {
		values.fill(/norm\d?\.weight$/.test(name) ? 1 : 0);
	} else {
		const next = mulberry32(
			[...name].reduce((seed, char) => Math.imul(seed ^ (char.codePointAt(0) as number), 0x01000193), SEED),
		);
		for (let i = 0; i < values.length; i++) values[i] = (2 * next() - 1) * Math.sqrt(3) * deviation;
	}
	return new Uint8Array(values.buffer);
}

function mulberry32(state: number): () => number {
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}
