import { attention } from "../../../kernels/attention.ts";
import { gatherRows } from "../../../kernels/gather.ts";
import type { Pass, Tensor } from "../../../kernels/gpu.ts";
import { matmul } from "../../../kernels/matmul.ts";
import { layerNorm } from "../../../kernels/norm.ts";
import { rowTable } from "../../../kernels/rows.ts";
import type { WordTransformerConfig } from "../../../model-shards/infinity-config.ts";
import type { Weights } from "../weights.ts";

/**
 * Word embeddings plus learned positions, pre-norm transformer layers, final norm.
 * Token ids -> features [tokens, width] in `features`. `make` gives scratch tensors that live as long as the submission.
 */
export function encodeWords(
	pass: Pass,
	config: WordTransformerConfig,
	weights: Weights,
	ids: readonly number[],
	features: Tensor,
	make: (label: string, shape: number[]) => Tensor,
): void {
	const { width, heads, ffn } = config;
	const tokens = ids.length;
	const rows = rowTable(pass, [{ token: 0, tokens, cond: 0, rope: 0, key: 0, keys: tokens, append: 0 }]);
	const x = make("text x", [tokens, width]);
	const h = make("text norm", [tokens, width]);
	const qkv = make("text qkv", [tokens, 3 * width]);
	const hidden = make("text ffn", [tokens, ffn]);
	const norm = (label: string, y: Tensor) => {
		const { weight, bias } = weights.linear(`text_encoder.${label}`);
		layerNorm(pass, { x, y, width, eps: config.normEps, rows, after: { kind: "affine", weight, bias }, label: `text ${label}` });
	};
	const linear = (label: string, from: Tensor, to: Tensor, k: number, n: number, more: { gelu?: boolean; add?: boolean } = {}) =>
		matmul(pass, { x: from, y: to, ...weights.linear(`text_encoder.${label}`), m: tokens, k, n, ...more, label: `text ${label}` });

	gatherRows(pass, {
		x: weights.get("text_encoder.tok_embed.weight"),
		index: pass.table(ids),
		y: x,
		count: tokens,
		width,
		extra: { table: weights.get("text_encoder.pos_embed.weight"), index: pass.table(ids.map((_, i) => i)) },
		label: "text embed",
	});
	for (let layer = 0; layer < config.layers; layer++) {
		norm(`layers.${layer}.norm1`, h);
		linear(`layers.${layer}.qkv`, h, qkv, width, 3 * width);
		const kv = { tensor: qkv, stride: 3 * width, key: width, value: 2 * width };
		const headDim = width / heads;
		attention(pass, { q: qkv, qStride: 3 * width, kv, y: h, heads, headDim, scale: headDim ** -0.5, rows, label: `text attention ${layer}` });
		linear(`layers.${layer}.proj`, h, x, width, width, { add: true });
		norm(`layers.${layer}.norm2`, h);
		linear(`layers.${layer}.fc1`, h, hidden, width, ffn, { gelu: true });
		linear(`layers.${layer}.fc2`, hidden, x, ffn, width, { add: true });
	}
	norm("final_norm", features);
}
