/** The official configuration fields of an Infinity checkpoint, read into this project's names. */
import { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/errors.ts";
import type { ReferenceKind } from "../checkpoints.ts";
import { multipliersOf, readFields, requireSupported, type Variants } from "../shared/official.ts";
import { Count } from "../shared/schema.ts";
import type { VaeConfig } from "../shared/vae.ts";
import type { WordTransformerConfig } from "../text/config.ts";
import type { InfinityConfig } from "./config.ts";
import { blockName } from "./tensors.ts";

export const KINDS: Readonly<Record<string, ReferenceKind>> = {
	infinity: { ramp: false, rope: "first" },
	"stagevar-infinity": { ramp: false, rope: "first" },
	"fastvar-infinity": { ramp: false, rope: "kept" },
};

const Flag = z.union([z.int(), z.boolean()]).transform(Number);

const TextEncoder = z.looseObject({
	kind: z.literal("word-transformer"),
	width: Count,
	heads: Count,
	layers: Count,
	mlp: Count,
	max_len: Count,
	vocab_size: Count,
	pad_id: z.int(),
	unk_id: z.int(),
	eos_id: z.int(),
	norm: z.string().optional(),
});

const Transformer = z.looseObject({
	depth: Count,
	embed_dim: Count,
	num_heads: Count,
	block_chunks: Count.default(1),
	text_channels: Count,
	text_maxlen: Count,
	apply_spatial_patchify: Flag.pipe(z.literal([0, 1])).default(0),
	norm_eps: z.number().default(1e-6),
	text_encoder: TextEncoder.nullish(),
});

const Vae = z.looseObject({
	codebook_dim: Count,
	base_ch: Count,
	num_res_blocks: Count,
	decoder_ch_mult: z.array(Count).min(1).optional(),
	ch_mult: z.array(Count).min(1).optional(),
	norm_groups: Count.optional(),
});

/** An absent flag has the official scripts' value. */
const SUPPORTED: Variants = {
	shared_aln: { value: 1 },
	cos_attn: { value: 1 },
	use_bit_label: { value: 1 },
	rope2d_each_sa_layer: { value: 1 },
	rope2d_normalized_by_hw: { value: 2 },
	add_lvl_embeding_only_first_block: { value: 1 },
};

/** `weightShapes` are the checkpoint's (official names); the feed-forward width is only written there. */
export function infinityConfigFromReference(
	config: unknown,
	vaeConfig: unknown,
	weightShapes: ReadonlyMap<string, readonly number[]>,
	ropeReach: InfinityConfig["ropeReach"],
): InfinityConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	requireSupported(c, SUPPORTED);
	if (c.depth % c.block_chunks !== 0)
		throw new ModelFormatError(`depth ${c.depth} does not divide into block_chunks ${c.block_chunks}.`);
	const fc1 = `${blockName(1, 0)}.ffn.fc1.weight`;
	const ffn = weightShapes.get(fc1)?.[0];
	if (ffn === undefined)
		throw new ModelFormatError(`The checkpoint has no ${fc1}, so it is not an Infinity transformer with block chunks.`);
	const vae = readFields(Vae, vaeConfig, "tokenizer configuration");
	return {
		depth: c.depth,
		width: c.embed_dim,
		heads: c.num_heads,
		ffn,
		chunkBlocks: c.depth / c.block_chunks,
		textChannels: c.text_channels,
		textMaxTokens: c.text_maxlen,
		poolHeads: Math.max(1, Math.floor(c.text_channels / (c.embed_dim > 4096 ? 64 : 128))),
		bits: vae.codebook_dim,
		...(c.apply_spatial_patchify === 1 && { patchify: 2 as const }),
		normEps: c.norm_eps,
		ropeReach,
		vae: vaeFromReference(vae),
		textEncoder: c.text_encoder ? textEncoderFromReference(c.text_encoder) : null,
	};
}

function vaeFromReference({
	base_ch,
	num_res_blocks,
	decoder_ch_mult,
	ch_mult,
	norm_groups,
}: z.infer<typeof Vae>): VaeConfig {
	const multipliers = multipliersOf(decoder_ch_mult, ch_mult, "decoder_ch_mult nor ch_mult");
	const groups = new Set(multipliers.map((m) => norm_groups ?? officialGroups(m * base_ch)));
	if (groups.size !== 1)
		throw new ModelFormatError(
			`Decoder widths ${multipliers.map((m) => m * base_ch)} have different group norms, which is not supported yet.`,
		);
	return {
		baseChannels: base_ch,
		multipliers,
		residualBlocks: num_res_blocks,
		normGroups: [...groups][0],
		normEps: 1e-6,
	};
}

function officialGroups(width: number): number {
	return width % 32 !== 0 && width % 24 === 0 ? 24 : 32;
}

function textEncoderFromReference(t: z.infer<typeof TextEncoder>): WordTransformerConfig {
	return {
		kind: t.kind,
		width: t.width,
		heads: t.heads,
		layers: t.layers,
		ffn: t.mlp,
		vocabulary: t.vocab_size,
		maxTokens: t.max_len,
		padId: t.pad_id,
		unknownId: t.unk_id,
		endId: t.eos_id,
		normEps: Number(/eps ([\d.e-]+)/.exec(t.norm ?? "")?.[1] ?? 1e-5),
	};
}
