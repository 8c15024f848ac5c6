/** The official configuration fields of an Infinity checkpoint, read into this project's names. */
import { z } from "zod";
import type { RopeSpread } from "../../../kernels/attention/rope.ts";
import { ModelFormatError } from "../../../model-shards/format/errors.ts";
import type { ReferenceKind } from "../checkpoints.ts";
import { Flag, multipliersOf, type Refused, readFields, requireComputed } from "../shared/official.ts";
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
	text_channels: z.int().min(0),
	text_maxlen: z.int().min(0),
	apply_spatial_patchify: Flag.default(false),
	norm_eps: z.number().gt(0).default(1e-6),
	rms_norm: Flag.default(false),
	shared_aln: Flag.default(true),
	head_aln: Flag.default(true),
	head_depth: z.int().min(1).default(1),
	cos_attn: Flag.default(true),
	tau: z.number().gt(0).default(1),
	swiglu: Flag.default(false),
	cross_attn_layer_scale: z.number().default(-1),
	add_lvl_embeding_only_first_block: Flag.default(true),
	rope2d_normalized_by_hw: z.literal([0, 1, 2]).default(2),
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
const REFUSED: Refused = {
	use_bit_label: {
		value: 1,
		why: "the official code cannot sample without: its sampler reads a quantiser it never makes",
	},
	rope2d_each_sa_layer: { value: 1, why: "the official class itself refuses 0" },
	nm0: { value: false, why: "no published model norms the latent before it is embedded" },
	video_frames: { value: 1, why: "the engine draws pictures" },
};
const ROPE: Readonly<Record<0 | 1 | 2, RopeSpread>> = { 0: "grid", 1: "between", 2: "nearest" };

/** `weightShapes` are the checkpoint's (official names); the feed-forward width is only written there. */
export function infinityConfigFromReference(
	config: unknown,
	vaeConfig: unknown,
	weightShapes: ReadonlyMap<string, readonly number[]>,
	ropeReach: InfinityConfig["ropeReach"],
): InfinityConfig {
	const c = readFields(Transformer, config, "transformer configuration");
	requireComputed(c, REFUSED);
	if (c.text_channels === 0)
		throw new ModelFormatError(
			"text_channels = 0 is not supported: it is a model of classes, whose blocks the official code cannot make.",
		);
	if (c.depth % c.block_chunks !== 0)
		throw new ModelFormatError(`depth ${c.depth} does not divide into block_chunks ${c.block_chunks}.`);
	if (c.head_depth > 2)
		throw new ModelFormatError(`head_depth = ${c.head_depth} is not supported: the official class makes 1 or 2.`);
	const [chunked, flat] = [blockName({ chunkBlocks: 1 }, 0), blockName({ chunkBlocks: 1, blockNames: "flat" }, 0)];
	const own = weightShapes.has(`${flat}.ffn.fc1.weight`) ? flat : chunked;
	const ffn = weightShapes.get(`${own}.ffn.fc1.weight`)?.[0];
	if (ffn === undefined)
		throw new ModelFormatError(
			`The checkpoint has no ${chunked}.ffn.fc1.weight, so it is not an Infinity transformer with block chunks.`,
		);
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
		...(c.apply_spatial_patchify && { patchify: 2 as const }),
		normEps: c.norm_eps,
		ropeReach,
		...variantsOf(c),
		...(own === flat && { blockNames: "flat" as const }),
		vae: vaeFromReference(vae),
		textEncoder: c.text_encoder ? textEncoderFromReference(c.text_encoder) : null,
	};
}

/** What differs from the published models. */
const variantsOf = (c: z.infer<typeof Transformer>) => ({
	...(!c.shared_aln && { adaln: "block" as const }),
	...(c.rms_norm && { norm: "rms" as const }),
	...(c.swiglu && { feedForward: "swiglu" as const }),
	...(!c.cos_attn && { normalised: false }),
	...(!c.cos_attn && c.tau !== 1 && { attentionTau: c.tau }),
	...(c.cross_attn_layer_scale >= 0 && { crossGate: true }),
	...(!c.add_lvl_embeding_only_first_block && { levels: "chunks" as const }),
	...(!c.head_aln && { headNorm: "own" as const }),
	...(c.head_depth === 2 && { headDepth: 2 as const }),
	...(c.rope2d_normalized_by_hw !== 2 && { ropeSpread: ROPE[c.rope2d_normalized_by_hw] }),
});

function vaeFromReference({
	base_ch,
	num_res_blocks,
	decoder_ch_mult,
	ch_mult,
	norm_groups,
}: z.infer<typeof Vae>): VaeConfig {
	const multipliers = multipliersOf(decoder_ch_mult, ch_mult, "decoder_ch_mult nor ch_mult");
	const groups = multipliers.map((m) => norm_groups ?? officialGroups(m * base_ch));
	return {
		baseChannels: base_ch,
		multipliers,
		residualBlocks: num_res_blocks,
		normGroups: new Set(groups).size === 1 ? groups[0] : groups,
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
