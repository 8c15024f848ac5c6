import { attention } from "../../../kernels/attention.ts";
import { gatherRows } from "../../../kernels/gather.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu.ts";
import type { Pass } from "../../../kernels/pass.ts";
import { matmul } from "../../../kernels/matmul.ts";
import { layerNorm } from "../../../kernels/norm.ts";
import { rowTable } from "../../../kernels/rows.ts";
import type { WordTransformerConfig } from "../../../model-shards/infinity-config.ts";
import type { Weights } from "../weights.ts";

/** Word embeddings plus learned positions, pre-norm transformer layers, final norm. */
export class WordTransformer {
	#gpu: Gpu;
	#config: WordTransformerConfig;
	#weights: Weights;
	#x: Tensor;
	#h: Tensor;
	#qkv: Tensor;
	#hidden: Tensor;

	constructor(gpu: Gpu, config: WordTransformerConfig, weights: Weights) {
		const { width, ffn, maxTokens } = config;
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		this.#x = gpu.tensor("text x", [maxTokens, width]);
		this.#h = gpu.tensor("text norm", [maxTokens, width]);
		this.#qkv = gpu.tensor("text qkv", [maxTokens, 3 * width]);
		this.#hidden = gpu.tensor("text ffn", [maxTokens, ffn]);
	}

	/** Token ids, at most the model's, -> features [tokens, width]. */
	record(pass: Pass, ids: readonly number[], features: Tensor): void {
		const { width, heads, ffn, layers, normEps } = this.#config;
		const weights = this.#weights;
		const [x, h, qkv, hidden] = [this.#x, this.#h, this.#qkv, this.#hidden];
		const tokens = ids.length;
		const headDim = width / heads;
		const rows = rowTable(pass, [{ token: 0, tokens, cond: 0, rope: 0, key: 0, keys: tokens, append: 0 }]);
		const norm = (label: string, y: Tensor) =>
			layerNorm(pass, { x, y, width, eps: normEps, rows, after: { kind: "affine", ...weights.linear(`text_encoder.${label}`) }, label: `text ${label}` });
		const linear = (label: string, from: Tensor, to: Tensor, k: number, n: number, more: { gelu?: boolean; add?: boolean } = {}) =>
			matmul(pass, { x: from, y: to, ...weights.linear(`text_encoder.${label}`), m: tokens, k, n, ...more, label: `text ${label}` });

		gatherRows(pass, {
			x: weights.get("text_encoder.tok_embed.weight"), index: pass.table(ids), y: x, count: tokens, width,
			extra: { table: weights.get("text_encoder.pos_embed.weight"), index: pass.table(ids.map((_, i) => i)) },
			label: "text embed",
		});
		for (let layer = 0; layer < layers; layer++) {
			norm(`layers.${layer}.norm1`, h);
			linear(`layers.${layer}.qkv`, h, qkv, width, 3 * width);
			const kv = { tensor: qkv, stride: 3 * width, key: width, value: 2 * width };
			attention(pass, { q: qkv, qStride: 3 * width, kv, y: h, heads, headDim, scale: headDim ** -0.5, rows, label: `text attention ${layer}` });
			linear(`layers.${layer}.proj`, h, x, width, width, { add: true });
			norm(`layers.${layer}.norm2`, h);
			linear(`layers.${layer}.fc1`, h, hidden, width, ffn, { gelu: true });
			linear(`layers.${layer}.fc2`, hidden, x, ffn, width, { add: true });
		}
		norm("final_norm", features);
	}

	destroy(): void {
		this.#gpu.free(this.#x, this.#h, this.#qkv, this.#hidden);
	}
}
