/** Every tensor of a text encoder, with its shape: official names under `text_encoder.`. */
import {
	linear,
	matrix,
	norm,
	scale as scaleOf,
	type TensorShape,
	table as tableOf,
} from "../../../model-shards/format/tensor-shapes.ts";
import { either } from "../shared/tensors.ts";
import { anatomyOf } from "./anatomy.ts";
import type { TextEncoderConfig } from "./config.ts";

export const TEXT_PREFIX = "text_encoder.";

/** Whether a tensor of this name is the text encoder's. */
export const isText = (name: string): boolean => name.startsWith(TEXT_PREFIX);

/**
 * What published files hold beside the encoder: decoders, heads, the picture side of CLIP and Qwen2-VL, copies of the
 * embedding, buffers.
 */
export const UNUSED_TEXT = either(
	/^text_encoder\.(decoder|lm_head|encoder\.embed_tokens|text_projection|visual(_projection)?|vision_model)(\.|$)/,
	/^text_encoder\.(logit_scale(\.|$)|.*(position_ids|inv_freq)$)/,
);

/** In the order they are used. */
export function textTensors(config: TextEncoderConfig): TensorShape[] {
	const official = shapesOf(config);
	const words = `${anatomyOf(config).tokens}.weight`;
	return official.map((tensor) => ({
		...tensor,
		name: TEXT_PREFIX + tensor.name,
		...(tensor.name === words && { lookup: true as const }),
	}));
}

function shapesOf(config: TextEncoderConfig): TensorShape[] {
	const { width, ffn, layers, vocabulary, maxTokens } = config;
	const table = (name: string, rows: number, columns = width) => tableOf(name, rows, columns);
	const scale = (name: string) => scaleOf(name, width);
	const each = (of: (layer: number) => TensorShape[]) => Array.from({ length: layers }, (_, layer) => of(layer)).flat();
	switch (config.kind) {
		case "word-transformer":
			return [
				table("tok_embed", vocabulary),
				table("pos_embed", maxTokens),
				...each((layer) => {
					const l = (name: string) => `layers.${layer}.${name}`;
					return [
						...norm(l("norm1"), width),
						...linear(l("qkv"), width, 3 * width),
						...linear(l("proj"), width, width),
						...norm(l("norm2"), width),
						...linear(l("fc1"), width, ffn),
						...linear(l("fc2"), ffn, width),
					];
				}),
				...norm("final_norm", width),
			];
		case "t5": {
			const inner = config.heads * config.headDim;
			return [
				table("shared", vocabulary),
				table("encoder.block.0.layer.0.SelfAttention.relative_attention_bias", config.buckets, config.heads),
				...each((layer) => {
					const l = (name: string) => `encoder.block.${layer}.layer.${name}`;
					const projections = ["q", "k", "v"].map((name) => matrix(l(`0.SelfAttention.${name}`), width, inner));
					const dense = ["wi_0", "wi_1"].map((name) => matrix(l(`1.DenseReluDense.${name}`), width, ffn));
					return [
						scale(l("0.layer_norm")),
						...projections,
						matrix(l("0.SelfAttention.o"), inner, width),
						scale(l("1.layer_norm")),
						...dense,
						{ ...matrix(l("1.DenseReluDense.wo"), ffn, width), wide: true },
					];
				}),
				scale("encoder.final_layer_norm"),
			];
		}
		case "clip-text": {
			const t = (name: string) => `text_model.${name}`;
			return [
				table(t("embeddings.token_embedding"), vocabulary),
				table(t("embeddings.position_embedding"), maxTokens),
				...each((layer) => {
					const l = (name: string) => t(`encoder.layers.${layer}.${name}`);
					const projections = ["q_proj", "k_proj", "v_proj", "out_proj"].flatMap((name) =>
						linear(l(`self_attn.${name}`), width, width),
					);
					return [
						...norm(l("layer_norm1"), width),
						...projections,
						...norm(l("layer_norm2"), width),
						...linear(l("mlp.fc1"), width, ffn),
						...linear(l("mlp.fc2"), ffn, width),
					];
				}),
				...norm(t("final_layer_norm"), width),
			];
		}
		case "qwen2": {
			const kvWidth = (width / config.heads) * config.kvHeads;
			return [
				table("embed_tokens", vocabulary),
				...each((layer) => {
					const l = (name: string) => `layers.${layer}.${name}`;
					const projections = [
						...linear(l("self_attn.q_proj"), width, width),
						...["k_proj", "v_proj"].flatMap((name) => linear(l(`self_attn.${name}`), width, kvWidth)),
					];
					const dense = ["gate_proj", "up_proj"].map((name) => matrix(l(`mlp.${name}`), width, ffn));
					return [
						scale(l("input_layernorm")),
						...projections,
						matrix(l("self_attn.o_proj"), width, width),
						scale(l("post_attention_layernorm")),
						...dense,
						matrix(l("mlp.down_proj"), ffn, width),
					];
				}),
				scale("norm"),
			];
		}
	}
}
