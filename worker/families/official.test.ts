/** Every argument of the official classes runs, or is refused by its name; docs/models.md has the list. */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { ModelFormatError } from "../../model-shards/format/errors.ts";
import type { Family } from "./family.ts";
import { families } from "./index.ts";

const patch_nums = [1, 2, 3];
const sizes = { depth: 2, embed_dim: 32, num_heads: 2 };
/** Of a small model of every family; the published models' where they say nothing else. */
const BASE: Record<string, { config: Record<string, unknown>; vae: Record<string, unknown> }> = {
	var: { config: { ...sizes, num_classes: 3, patch_nums }, vae: {} },
	star: { config: { ...sizes, in_dim_cross: 16, patch_nums }, vae: {} },
	hart: { config: { ...sizes, attn_type: "llama", context_token: 4, context_dim: 16, patch_nums }, vae: {} },
	infinity: { config: { ...sizes, block_chunks: 2, text_channels: 128, text_maxlen: 8 }, vae: {} },
};
const CODEBOOK = { V: 10, Cvae: 8, ch: 32, dec_ch_mult: [1, 1], num_res_blocks: 1 };
const BITS = { codebook_dim: 14, base_ch: 32, decoder_ch_mult: [1, 1], num_res_blocks: 1 };
const shapes = new Map([["block_chunks.0.module.0.ffn.fc1.weight", [256, 32]]]);

function read(name: string, { config = {}, vae = {} }: { config?: object; vae?: object }): Record<string, any> {
	const family: Family = families[name];
	return family.official.config({
		config: { ...BASE[name].config, ...config },
		vae: { ...(name === "infinity" ? BITS : CODEBOOK), ...vae },
		shapes,
		reach: { "1:1": [64, 64] },
	}) as Record<string, any>;
}

/** Arguments that change what is computed, a value of each that is no published model's, and what it becomes. */
const RUNS: [family: string, given: { config?: object; vae?: object }, becomes: object][] = [
	["var", { config: { mlp_ratio: 2.55, embed_dim: 30, num_heads: 3 } }, { ffn: 76, width: 30, heads: 3 }],
	["var", { config: { norm_eps: 1e-3 } }, { normEps: 1e-3 }],
	["var", { config: { shared_aln: true } }, { adaln: "shared" }],
	["var", { config: { shared_aln: 0, attn_l2_norm: 1 } }, { adaln: "block", normalised: true }],
	["var", { config: { patch_nums: [2, 3] } }, { startTokens: 4, tokens: 13, scales: 2 }],
	["var", { vae: { V: 1000, Cvae: 7 } }, { codebook: { vocabulary: 1000, channels: 7, phis: 4 } }],
	["var", { vae: { share_quant_resi: 1 } }, { codebook: { vocabulary: 10, channels: 8, phis: 1, phiNames: "single" } }],
	["var", { vae: { share_quant_resi: 0 } }, { codebook: { vocabulary: 10, channels: 8, phis: 3, phiNames: "each" } }],
	[
		"var",
		{ vae: { share_quant_resi: 0, default_qresi_counts: 5, quant_resi: -0.3 } },
		{ codebook: { vocabulary: 10, channels: 8, phis: 5, phiNames: "each", phiShare: 0.3 } },
	],
	["var", { vae: { quant_resi: 0 } }, { codebook: { vocabulary: 10, channels: 8, phis: 4, phiShare: 0 } }],
	["star", { config: { attn_l2_norm: false } }, { normalised: false }],
	["star", { config: { enable_cross: false, enable_logit_norm: false } }, { crossAttention: false, headNorm: false }],
	["star", { config: { rope_norm: -1, rope_theta: 100 } }, { ropeReach: null, ropeTheta: 100 }],
	["hart", { config: { disable_aln: true, shared_aln: false } }, { modulation: "none" }],
	["hart", { config: { disable_aln: false, shared_aln: true } }, { modulation: "map-max" }],
	["hart", { config: { sep_aln_pooling_mode: "avg" } }, { modulation: "map-mean" }],
	["hart", { config: { mlp_type: "gpt2", mlp_ratio: 3 } }, { feedForward: "gelu", ffn: 96 }],
	["hart", { config: { use_timestep_embed: false } }, { levels: "table", scales: 3 }],
	["hart", { config: { use_context_norm: false } }, { contextNorm: false }],
	["hart", { config: { num_sampling_steps: "12" } }, { residual: { width: 1024, depth: 6, steps: 12 } }],
	[
		"infinity",
		{ config: { shared_aln: 0, rms_norm: true, swiglu: 1 } },
		{ adaln: "block", norm: "rms", feedForward: "swiglu" },
	],
	["infinity", { config: { cos_attn: false, tau: 2 } }, { normalised: false, attentionTau: 2 }],
	["infinity", { config: { head_aln: false, head_depth: 2 } }, { headNorm: "own", headDepth: 2 }],
	["infinity", { config: { cross_attn_layer_scale: 0 } }, { crossGate: true }],
	["infinity", { config: { add_lvl_embeding_only_first_block: 0 } }, { levels: "chunks" }],
	["infinity", { config: { rope2d_normalized_by_hw: 0 } }, { ropeSpread: "grid" }],
	["infinity", { config: { rope2d_normalized_by_hw: 1 } }, { ropeSpread: "between" }],
	["infinity", { config: { apply_spatial_patchify: true } }, { patchify: 2, bits: 14 }],
];

/** Values that are refused, by argument. */
const REFUSED: [family: string, argument: string, value: unknown, part?: "vae"][] = [
	["var", "quant_conv_ks", 5, "vae"],
	["star", "shared_aln", true],
	["star", "rotary_pos_emb", false],
	["star", "absolute_lvl_emb", false],
	["star", "enable_adaptive_norm", true],
	["star", "noise_sampling", true],
	["hart", "attn_type", "gpt2"],
	["hart", "use_cross_attn", true],
	["hart", "sampler", "ddim"],
	["infinity", "use_bit_label", 0],
	["infinity", "rope2d_each_sa_layer", 0],
	["infinity", "nm0", true],
	["infinity", "video_frames", 5],
	["infinity", "text_channels", 0],
	["infinity", "head_depth", 3],
];

it.each(RUNS)("%s runs %j", (family, given, becomes) => {
	const config = read(family, given);
	expect(config).toMatchObject(becomes);
	expect(families[family].config.parse(config)).toEqual(config);
});

it.each(REFUSED)("%s refuses %s = %j by that name, with the reason", (family, argument, value, part = undefined) => {
	const given = part === "vae" ? { vae: { [argument]: value } } : { config: { [argument]: value } };
	expect(() => read(family, given)).toThrow(ModelFormatError);
	expect(() => read(family, given)).toThrow(
		new RegExp(`^${argument} = ${JSON.stringify(value)} is not supported.*: .{20,}\\.$`),
	);
});

/** By class, as its constructor has them; the ones that only training reads stand in one sentence there. */
const ARGUMENTS: Record<string, string> = {
	VAR: "num_classes depth embed_dim num_heads mlp_ratio norm_eps shared_aln cond_drop_rate attn_l2_norm patch_nums",
	STAR:
		"enable_cross in_dim_cross noise_sampling rotary_pos_emb absolute_lvl_emb rope_theta rope_norm enable_logit_norm " +
		"enable_adaptive_norm",
	HART:
		"context_token context_dim mlp_type attn_type disable_aln use_timestep_embed sep_aln_pooling_mode use_cross_attn " +
		"diff_width diff_depth num_sampling_steps sampler use_context_norm",
	Infinity:
		"text_channels text_maxlen rms_norm head_aln rand_uncond cross_attn_layer_scale nm0 tau cos_attn swiglu " +
		"head_depth customized_flash_attn fused_norm block_chunks checkpointing pad_to_multiplier use_flex_attn " +
		"add_lvl_embeding_only_first_block use_bit_label rope2d_each_sa_layer rope2d_normalized_by_hw video_frames " +
		"apply_spatial_patchify",
	tokenizer:
		"vocab_size z_channels ch beta using_znorm quant_conv_ks quant_resi share_quant_resi default_qresi_counts " +
		"v_patch_nums test_mode codebook_dim base_ch decoder_ch_mult num_res_blocks",
};

describe("docs/models.md", () => {
	it.each(Object.entries(ARGUMENTS))("says of every argument of %s whether it runs", async (_, names) => {
		const text = await readFile(new URL("../../docs/models.md", import.meta.url), "utf8");
		const section = /### Arguments of the official classes\n([\s\S]*?)\n(## |A model imported)/.exec(text)?.[1] ?? "";
		expect(names.split(" ").filter((name) => !section.includes(`\`${name}\``))).toEqual([]);
	});
	it("and names every argument that is refused", async () => {
		const text = await readFile(new URL("../../docs/models.md", import.meta.url), "utf8");
		expect(REFUSED.map(([, name]) => name).filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
	});
});
