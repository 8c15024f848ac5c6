import { join } from "node:path";
import { expect, it } from "vitest";
import { readJson } from "../../../model-shards/format/source/files.ts";
import { openSafetensors } from "../../../model-shards/import/formats/safetensors.ts";
import { hartConfigFromReference } from "../hart/official.ts";
import { hartTensors } from "../hart/tensors.ts";
import { starConfigFromReference } from "../star/official.ts";
import { starTensors } from "../star/tensors.ts";
import { VarConfig } from "./config.ts";
import { varConfigFromReference } from "./official.ts";
import { publishedVar } from "./published.ts";
import { varTensors } from "./tensors.ts";

const reference = (name: string) => join(import.meta.dirname, "..", "..", "..", "test", "reference", name);

/** Parameters of the released checkpoints as their model zoo counts them, in millions, rounded as it does. */
it.each([
	[16, 310],
	[20, 600],
	[24, 1000],
	[30, 2000],
	[36, 2300],
] as const)("d%i has the parameters of the release, about %i million", (depth, millions) => {
	const config = publishedVar(depth);
	expect(VarConfig.parse(config)).toEqual(config);
	const shapes = new Map(varTensors(config).map(({ name, shape }) => [name, shape]));
	const transformer = [...shapes]
		.filter(([name]) => name.startsWith("transformer."))
		.reduce((sum, [, shape]) => sum + shape.reduce((a, b) => a * b, 1), 0);
	expect(Math.abs(transformer / 1e6 / millions - 1)).toBeLessThan(0.06);
	expect(shapes.get("transformer.class_emb.weight")).toEqual([1001, 64 * depth]);
	expect(shapes.get("transformer.pos_1LC")).toEqual([1, depth === 36 ? 2240 : 680, 64 * depth]);
	expect(shapes.get(`transformer.blocks.${depth - 1}.ffn.fc2.weight`)).toEqual([64 * depth, 256 * depth]);
	expect(shapes.has("transformer.shared_ada_lin.1.weight")).toBe(depth === 36);
	expect(shapes.get("vae.decoder.up.4.attn.2.qkv.weight")).toEqual([1920, 640, 1, 1]);
	expect(shapes.get("vae.decoder.up.0.block.2.conv2.weight")).toEqual([160, 160, 3, 3]);
});

it.each([
	["var-tiny", varConfigFromReference, varTensors],
	["star-tiny", starConfigFromReference, starTensors],
	["hart-tiny", hartConfigFromReference, hartTensors],
])("%s: every name and shape of a checkpoint, but for constants", async (set, configOf, tensorsOf) => {
	const { config, vae_config, vae_file } = (await readJson(join(reference(set), "manifest.json"))) as Record<
		string,
		never
	>;
	const found = new Map<string, readonly number[]>();
	for (const [prefix, file] of [
		["transformer", "weights.safetensors"],
		["vae", vae_file],
	]) {
		await using source = await openSafetensors(join(reference(set), file));
		for (const [name, { shape }] of source.tensors) found.set(`${prefix}.${name}`, shape);
	}
	for (const { name, shape } of tensorsOf(configOf(config, vae_config) as never)) {
		expect([name, found.get(name)]).toEqual([name, shape]);
		found.delete(name);
	}
	expect(
		[...found.keys()].filter(
			(name) =>
				!/lvl_1L|attn_bias_for_masking|zero_k_bias|ema_vocab_hit_SV|vae\.quant_conv\.|star.*class_emb/.test(
					`${set} ${name}`,
				),
		),
	).toEqual([]);
});

it("refuses variants the engine does not compute, and sizes that do not fit", async () => {
	const { config, vae_config } = (await readJson(join(reference("star-tiny"), "manifest.json"))) as {
		config: object;
		vae_config: object;
	};
	expect(() => starConfigFromReference({ ...config, enable_adaptive_norm: true }, vae_config)).toThrow(
		/enable_adaptive_norm = true is not supported/,
	);
	expect(() => starConfigFromReference({ ...config, depth: 0 }, vae_config)).toThrow(
		/transformer configuration cannot be read/,
	);
	expect(() =>
		hartConfigFromReference(
			{ ...config, context_token: 9, context_dim: 40, diff_width: 48, diff_depth: 2, num_sampling_steps: "8" },
			vae_config,
		),
	).toThrow(/attn_type = "gpt2" is not supported, only attn_type = "llama"/);
	expect(() => varConfigFromReference({ ...config, patch_nums: [] }, vae_config)).toThrow(
		/transformer configuration cannot be read/,
	);
	expect(
		VarConfig.safeParse({ ...publishedVar(16), codebook: { vocabulary: 1, channels: 32, phis: 4 } }).error?.message,
	).toMatch(/vocabulary/);
});
