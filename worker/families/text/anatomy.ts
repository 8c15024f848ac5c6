/** What kinds of text encoder are made of, as data: official names of their modules, and how a layer computes. */
import type { Activation } from "../../../kernels/pointwise/activation.ts";
import type { TextEncoderConfig } from "./config.ts";

export interface Anatomy {
	/** With mean, weight and bias, or by the root mean square with a weight. */
	norm: "layer" | "rms";
	/** Embeddings of tokens, and of positions where they are learned. */
	tokens: string;
	positions?: string;
	/** Module names of one layer. */
	layer(index: number): LayerNames;
	final: string;
	headDim: number;
	/** Heads of keys and values. */
	kvHeads: number;
	/** Of the scores. */
	scale: number;
	causal: boolean;
	/** Relative positions: a table [buckets, heads] that every layer adds to its scores. */
	relative?: { table: string; buckets: number; distance: number };
	/** Rotary positions: the base of their frequencies. */
	ropeTheta?: number;
	activation: Activation;
}
export interface LayerNames {
	norm1: string;
	/** One module, or one each for q, k and v. */
	qkv: readonly [string] | readonly [string, string, string];
	out: string;
	norm2: string;
	up: string;
	/** Of a gated feed-forward: down(act(gate(x)) * up(x)). */
	gate?: string;
	down: string;
}

export function anatomyOf(config: TextEncoderConfig): Anatomy {
	const { width, heads } = config;
	const headDim = config.kind === "t5" ? config.headDim : width / heads;
	const usual = { headDim, kvHeads: heads, scale: headDim ** -0.5, causal: true };
	switch (config.kind) {
		case "word-transformer":
			return {
				...usual,
				norm: "layer",
				tokens: "tok_embed",
				positions: "pos_embed",
				final: "final_norm",
				causal: false,
				activation: "gelu-tanh",
				layer: (index) =>
					inside(`layers.${index}`, {
						norm1: "norm1",
						qkv: ["qkv"],
						out: "proj",
						norm2: "norm2",
						up: "fc1",
						down: "fc2",
					}),
			};
		case "t5":
			return {
				...usual,
				norm: "rms",
				tokens: "shared",
				final: "encoder.final_layer_norm",
				scale: 1,
				causal: false,
				activation: "gelu-tanh",
				relative: {
					table: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
					buckets: config.buckets,
					distance: config.distance,
				},
				layer: (index) =>
					inside(`encoder.block.${index}.layer`, {
						norm1: "0.layer_norm",
						qkv: ["0.SelfAttention.q", "0.SelfAttention.k", "0.SelfAttention.v"],
						out: "0.SelfAttention.o",
						norm2: "1.layer_norm",
						gate: "1.DenseReluDense.wi_0",
						up: "1.DenseReluDense.wi_1",
						down: "1.DenseReluDense.wo",
					}),
			};
		case "clip-text":
			return {
				...usual,
				norm: "layer",
				tokens: "text_model.embeddings.token_embedding",
				positions: "text_model.embeddings.position_embedding",
				final: "text_model.final_layer_norm",
				activation: config.activation,
				layer: (index) =>
					inside(`text_model.encoder.layers.${index}`, {
						norm1: "layer_norm1",
						qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
						out: "self_attn.out_proj",
						norm2: "layer_norm2",
						up: "mlp.fc1",
						down: "mlp.fc2",
					}),
			};
		case "qwen2":
			return {
				...usual,
				norm: "rms",
				tokens: "embed_tokens",
				final: "norm",
				kvHeads: config.kvHeads,
				ropeTheta: config.ropeTheta,
				activation: "silu",
				layer: (index) =>
					inside(`layers.${index}`, {
						norm1: "input_layernorm",
						qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
						out: "self_attn.o_proj",
						norm2: "post_attention_layernorm",
						gate: "mlp.gate_proj",
						up: "mlp.up_proj",
						down: "mlp.down_proj",
					}),
			};
	}
}

function inside(prefix: string, names: LayerNames): LayerNames {
	const within = (name: string) => `${prefix}.${name}`;
	return {
		norm1: within(names.norm1),
		qkv: names.qkv.map(within) as [string, string, string],
		out: within(names.out),
		norm2: within(names.norm2),
		up: within(names.up),
		gate: names.gate && within(names.gate),
		down: within(names.down),
	};
}
