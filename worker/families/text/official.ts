/**
 * The `config.json` of a published text encoder, as the transformers library writes it, read into this project's names.
 */
import { z } from "zod";
import { ModelFormatError } from "../../../model-shards/format/errors.ts";
import { formed } from "../../../model-shards/format/json.ts";
import { Count } from "../shared/schema.ts";
import type { ClipTextConfig, Qwen2Config, T5Config, TextEncoderConfig } from "./config.ts";

/**
 * Texts of published models are no longer (Infinity's are cut at it, HART's are 300 behind its instructions), though
 * these encoders would take more.
 */
const MAX_TOKENS = 512;
/** What CLIP's first configurations say in place of the end marker; the highest id was meant. */
const WRONG_END = 2;

const T5 = z
	.looseObject({
		d_model: Count,
		num_heads: Count,
		d_kv: Count,
		num_layers: Count,
		d_ff: Count,
		vocab_size: Count,
		relative_attention_num_buckets: Count,
		relative_attention_max_distance: Count.default(128),
		layer_norm_epsilon: z.number().default(1e-6),
		feed_forward_proj: z.literal("gated-gelu", {
			error: "only T5 v1.1 and its kin, with feed_forward_proj = gated-gelu, are supported",
		}),
	})
	.transform(
		(c): T5Config => ({
			kind: "t5",
			width: c.d_model,
			heads: c.num_heads,
			headDim: c.d_kv,
			layers: c.num_layers,
			ffn: c.d_ff,
			vocabulary: c.vocab_size,
			maxTokens: MAX_TOKENS,
			buckets: c.relative_attention_num_buckets,
			distance: c.relative_attention_max_distance,
			normEps: c.layer_norm_epsilon,
		}),
	);

/** The library leaves out what has its default: those of CLIP ViT-B/32. */
const ClipText = z
	.looseObject({
		hidden_size: Count.default(512),
		num_attention_heads: Count.default(8),
		num_hidden_layers: Count.default(12),
		intermediate_size: Count.default(2048),
		vocab_size: Count.default(49408),
		max_position_embeddings: Count.default(77),
		layer_norm_eps: z.number().default(1e-5),
		hidden_act: z.enum(["quick_gelu", "gelu"]).default("quick_gelu"),
		bos_token_id: z.int().min(0).nullish(),
		eos_token_id: z.int().min(0).nullish(),
	})
	.transform((c): ClipTextConfig => {
		const wrong = (c.eos_token_id ?? WRONG_END) === WRONG_END;
		return {
			kind: "clip-text",
			width: c.hidden_size,
			heads: c.num_attention_heads,
			layers: c.num_hidden_layers,
			ffn: c.intermediate_size,
			vocabulary: c.vocab_size,
			maxTokens: c.max_position_embeddings,
			activation: c.hidden_act === "gelu" ? "gelu" : "quick-gelu",
			startId: wrong ? c.vocab_size - 2 : (c.bos_token_id ?? c.vocab_size - 2),
			endId: wrong ? c.vocab_size - 1 : (c.eos_token_id as number),
			normEps: c.layer_norm_eps,
		};
	});

const Qwen2 = z
	.looseObject({
		hidden_size: Count,
		num_attention_heads: Count,
		num_key_value_heads: Count,
		num_hidden_layers: Count,
		intermediate_size: Count,
		vocab_size: Count,
		rope_theta: z.number().default(1e6),
		rms_norm_eps: z.number().default(1e-6),
		hidden_act: z.literal("silu").default("silu"),
		use_sliding_window: z.literal(false).default(false),
	})
	.transform(
		(c): Omit<Qwen2Config, "padId" | "padSide"> => ({
			kind: "qwen2",
			width: c.hidden_size,
			heads: c.num_attention_heads,
			kvHeads: c.num_key_value_heads,
			layers: c.num_hidden_layers,
			ffn: c.intermediate_size,
			vocabulary: c.vocab_size,
			maxTokens: MAX_TOKENS,
			ropeTheta: c.rope_theta,
			normEps: c.rms_norm_eps,
		}),
	);

/** Of `tokenizer_config.json`: how it pads. */
const Padding = z
	.looseObject({
		padding_side: z.enum(["left", "right"]).default("right"),
		pad_token: z.union([z.string(), z.looseObject({ content: z.string() }).transform(({ content }) => content)]),
		added_tokens_decoder: z.record(z.string().regex(/^\d{1,9}$/), z.looseObject({ content: z.string() })),
	})
	.transform(({ padding_side, pad_token, added_tokens_decoder }, context) => {
		const id = Object.entries(added_tokens_decoder).find(([, { content }]) => content === pad_token)?.[0];
		if (id === undefined)
			context.addIssue({ code: "custom", message: `pad_token ${pad_token} is not among added_tokens_decoder` });
		return { padId: Number(id), padSide: padding_side };
	});

/** By the configuration's `model_type`. A CLIP of both sides has its text side within. */
const KINDS: Readonly<Record<string, z.ZodType<TextEncoderConfig | Omit<Qwen2Config, "padId" | "padSide">>>> = {
	t5: T5,
	clip_text_model: ClipText,
	clip: z.looseObject({ text_config: ClipText }).transform(({ text_config }) => text_config),
	qwen2: Qwen2,
	qwen2_vl: Qwen2,
};

/**
 * `where` names the files in errors; `tokenizer` is the tokenizer's configuration, for what pads. Throws
 * ModelFormatError for an encoder that the engine does not compute.
 */
export function textEncoderFromReference(json: unknown, where: string, tokenizer?: unknown): TextEncoderConfig {
	const { data } = z.looseObject({ model_type: z.string().max(64) }).safeParse(json);
	const kind = data && Object.hasOwn(KINDS, data.model_type) ? KINDS[data.model_type] : undefined;
	if (!kind)
		throw new ModelFormatError(
			`${where} is of no text encoder this version computes: its model_type is ` +
				`${data?.model_type ?? "missing"}, known are ${Object.keys(KINDS).join(", ")}.`,
		);
	const config = formed(kind, json, `${where} describes a text encoder that this version does not compute`);
	if (config.kind !== "qwen2") return config;
	const problem = `tokenizer_config.json beside ${where} does not say how texts are padded`;
	return { ...config, ...formed(Padding, tokenizer ?? {}, problem) };
}
