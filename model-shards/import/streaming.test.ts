/** Imports that never hold a checkpoint: full official lists into hashes, files in pieces, several files as one. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { families } from "../../worker/families/index.ts";
import { either } from "../../worker/families/shared/tensors.ts";
import { star } from "../../worker/families/star/index.ts";
import { publishedStar } from "../../worker/families/star/published.ts";
import { PUBLISHED_TEXT, textEncoderProblems } from "../../worker/families/text/config.ts";
import { ModelFormatError } from "../format/errors.ts";
import { openModelFolder } from "../open.ts";
import { SMALL_HEAD, smallCheckpoint, writeSafetensors } from "../testing.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { importModel } from "./model.ts";
import { publishedTensors } from "./published.ts";
import { nowhere } from "./sink.ts";
import { syntheticSource, writePth } from "./synthetic.ts";
import { importsInPieces } from "./testing-streaming.ts";

const dir = await mkdtemp(join(tmpdir(), "streaming-"));
afterAll(() => rm(dir, { recursive: true }));

const small = { head: SMALL_HEAD };

// Others are in streaming.long.test.ts.
importsInPieces([
	["infinity", "125m", 300e6, ""],
	["star", "256-d16", 680e6, "trainer.var_wo_ddp."],
]);

it("Infinity's schedules are those of every aspect", () => {
	const { schedules } = families.infinity.published.describe("125M").head;
	expect(Object.keys(schedules)).toHaveLength(15);
	expect(schedules["3:2"].image).toEqual({ height: 336, width: 224 });
});

it.each([
	["infinity", "125m", [124e6, 126e6]],
	["infinity", "2b", [1.95e9, 2.25e9]],
	["infinity", "8b", [7.8e9, 8.5e9]],
	["infinity", "8b-512", [7.8e9, 8.5e9]],
	["var", "d16", [309e6, 315e6]],
	["var", "d20", [590e6, 610e6]],
	["var", "d24", [1e9, 1.06e9]],
	["var", "d30", [1.95e9, 2.05e9]],
	["var", "d36", [2.25e9, 2.4e9]],
	["hart", "0.7b", [731e6, 733e6]],
] as const)("the list of %s %s has the published number of parameters", (name, size, [low, high]) => {
	const [weights] = publishedTensors(families[name], size);
	const sum = (some: typeof weights) => some.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
	expect(sum(weights)).toBeGreaterThan(low);
	expect(sum(weights)).toBeLessThan(high);
	expect(new Set(weights.map(({ name }) => name)).size).toBe(weights.length);
	// The paper's 37 million of its residual diffusion.
	if (name === "hart")
		expect(sum(weights.filter(({ name }) => name.startsWith("diffloss."))) / 1e6).toBeCloseTo(36.5, 0);
});

it("STAR's lists are VAR's of the same depth with text in place of AdaLN, and its sampler beside it", () => {
	for (const size of star.published.sizes) {
		const { head, unused } = star.published.describe(size);
		const read = either(star.unused, unused);
		const { depth, textChannels } = publishedStar(size).config;
		const [weights, vae] = publishedTensors(families.star, size);
		const [ofVar, vaeOfVar] = publishedTensors(families.var, `d${depth}`);
		const common = (some: typeof weights) =>
			some
				.filter(({ name }) => /^(blocks\.\d+\.(attn|ffn)|word_embed|pos_start$|class_emb)\b/.test(name))
				.map(({ name, shape }) => `${name} ${shape}`)
				.toSorted();
		expect(common(weights)).toEqual(common(ofVar));
		expect(vae).toEqual(vaeOfVar);
		expect(weights.filter(({ name }) => name.includes("cross_attn."))).toHaveLength(8 * depth);
		const known = new Set(star.tensors(head.config).map(({ name }) => name));
		const unread = weights.filter(({ name }) => !known.has(`transformer.${name}`));
		expect(unread.filter(({ name }) => !read.test(`transformer.${name}`))).toEqual([]);
		expect(unread.some(({ name }) => name.startsWith("feat_extract_blocks.2."))).toBe(size === "1024-sampler");
		expect(textEncoderProblems(PUBLISHED_TEXT["stabilityai/stable-diffusion-2-1"], textChannels)).toEqual([]);
	}
	// The sampler's file is refused, by its tensors' names, where another size is named.
	expect(star.published.describe("1024").unused).toBeUndefined();
	expect(star.unused.test("transformer.head_logits2.bias")).toBe(false);
	expect(() => star.published.describe("2048")).toThrow(/There are: 256, 512, 1024, 256-d16, 1024-sampler/);
});

it("a .pth and a sharded safetensors import to the same model", async () => {
	const { weights, vae } = smallCheckpoint("F32");
	const source = syntheticSource(
		"weights",
		Object.entries(weights).map(([name, { shape }]) => ({ name, shape })),
		"BF16",
	);
	await writePth(join(dir, "weights.pth"), source);
	await writeSafetensors(join(dir, "vae.safetensors"), vae);
	const names = [...source.tensors.keys()];
	const weight_map: Record<string, string> = {};
	for (const [i, part] of [names.slice(0, 5), names.slice(5)].entries()) {
		const tensors = await Promise.all(
			part.map(
				async (name) =>
					[
						name,
						{ ...(source.tensors.get(name) as { dtype: string; shape: number[] }), bytes: await source.read(name) },
					] as const,
			),
		);
		await writeSafetensors(join(dir, `model-${i}.safetensors`), Object.fromEntries(tensors));
		for (const name of part) weight_map[name] = `model-${i}.safetensors`;
	}
	const index = join(dir, "model.safetensors.index.json");
	await writeFile(index, JSON.stringify({ metadata: { total_size: 1 }, weight_map }));
	const digests = [];
	for (const [i, from] of [join(dir, "weights.pth"), index].entries()) {
		await importModel({
			...small,
			weights: from,
			vae: join(dir, "vae.safetensors"),
			out: join(dir, `out-${i}`),
			shardBytes: 4096,
		});
		digests.push((await openModelFolder(join(dir, `out-${i}`))).digest);
	}
	expect(digests[0]).toBe(digests[1]);

	await writeFile(index, JSON.stringify({ weight_map: { ...weight_map, more: "model-0.safetensors" } }));
	await expect(openCheckpoint(index)).rejects.toThrow(/looks for more in model-0\.safetensors, which lacks it/);
	await writeFile(index, JSON.stringify({ weight_map: { ...weight_map, more: "../model-0.safetensors" } }));
	await expect(openCheckpoint(index)).rejects.toThrow(ModelFormatError);
	await writeFile(index, JSON.stringify({ weight_map: { more: basename(index) } }));
	await expect(openCheckpoint(index)).rejects.toThrow(/must name files of weights/);
});

it("a value that F16 cannot hold is refused by its tensor's name", async () => {
	const { weights, vae } = smallCheckpoint("F32");
	new Float32Array(weights["head.bias"].bytes.buffer)[1] = 70000;
	await writeSafetensors(join(dir, "large.safetensors"), weights);
	await writeSafetensors(join(dir, "vae.safetensors"), vae);
	const importing = importModel({
		...small,
		weights: join(dir, "large.safetensors"),
		vae: join(dir, "vae.safetensors"),
		out: nowhere,
		dtype: "f16",
	});
	await expect(importing).rejects.toThrow(/transformer\.head\.bias holds 70000, which F16 cannot/);
});
