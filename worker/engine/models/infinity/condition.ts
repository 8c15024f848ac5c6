import { attention } from "../../../../kernels/attention.ts";
import { copy, gatherRows, silu } from "../../../../kernels/gather.ts";
import type { Gpu, Pass, Tensor } from "../../../../kernels/gpu.ts";
import { matmul } from "../../../../kernels/matmul.ts";
import { rmsNorm } from "../../../../kernels/norm.ts";
import { type Row, rowTable } from "../../../../kernels/rows.ts";
import type { InfinityConfig } from "../../../../model-shards/infinity-config.ts";
import type { Taps } from "../../tap.ts";
import { encodeWords } from "../../text/word-transformer.ts";
import type { Weights } from "../../weights.ts";

/** Guidance rows, in the order of every conditioning table. */
export const COND = 0;
export const UNCOND = 1;
const ROWS = 2;

/** What the text gives every scale: start tokens, modulations, cross-attention keys and values. Rows: conditional, unconditional. */
export interface Condition {
	textTokens: number;
	/** [2, width]: pooled text + pos_start, the input of scale 0. */
	start: Tensor;
	/** By block: [2, 6 * width], gamma1 gamma2 scale1 scale2 shift1 shift2. */
	modulation: Tensor[];
	/** [2, 2 * width]: scale, shift. */
	headModulation: Tensor;
	/** By block: [2 * textTokens, 2 * width], keys then values. */
	textKv: Tensor[];
	destroy(): void;
}

/** Token ids or given features -> Condition. Records into `pass`; scratch is freed by `destroy`. */
export function condition(
	gpu: Gpu,
	pass: Pass,
	config: InfinityConfig,
	weights: Weights,
	text: { ids: readonly number[] } | { features: Float32Array<ArrayBuffer> },
	taps: Taps,
): Condition {
	const { width, textChannels, depth, poolHeads } = config;
	const tokens = "ids" in text ? text.ids.length : text.features.length / textChannels;
	const owned: Tensor[] = [];
	const make = (label: string, shape: number[]) => {
		const tensor = gpu.tensor(label, shape);
		owned.push(tensor);
		return tensor;
	};
	const w = (name: string) => weights.get(`transformer.${name}`);
	const linear = (name: string, x: Tensor, y: Tensor, m: number, k: number, n: number, gelu = false) =>
		matmul(pass, { x, y, ...weights.linear(`transformer.${name}`), m, k, n, gelu, label: name });

	// Unconditional features are as many learned rows as the prompt has tokens, so both halves have equal length.
	const features = make("text features", [ROWS * tokens, textChannels]);
	const prompt = make("prompt features", [tokens, textChannels]);
	if ("ids" in text) {
		if (!config.textEncoder) throw new RangeError("This model has no text encoder: give its text features in `draws` as text.feats.");
		encodeWords(pass, config.textEncoder, weights, text.ids, prompt, make);
		taps.keep(pass, "text.feats", prompt, [tokens, textChannels]);
	} else {
		gpu.device.queue.writeBuffer(prompt.buffer, 0, text.features);
	}
	const half = tokens * textChannels;
	copy(pass, { x: prompt, y: features, count: half, label: "prompt features" });
	copy(pass, { x: w("cfg_uncond"), y: features, to: half, count: half, label: "cfg_uncond" });

	const normed = make("text norm", [ROWS * tokens, textChannels]);
	rmsNorm(pass, { x: features, y: normed, weight: w("text_norm.weight"), tokens: ROWS * tokens, width: textChannels, eps: config.normEps, label: "text_norm" });
	taps.keep(pass, "text.norm_out", normed, [ROWS * tokens, textChannels]);

	// Attentive pooling: one learned query a row over that row's own tokens.
	const poolKv = make("pool kv", [ROWS * tokens, 2 * width]);
	linear("text_proj_for_sos.ca.mat_kv", normed, poolKv, ROWS * tokens, textChannels, 2 * width);
	const query = make("pool query", [ROWS, width]);
	gatherRows(pass, { x: w("text_proj_for_sos.ca.mat_q"), index: pass.table([0, 0]), y: query, count: ROWS, width, label: "pool query" });
	const pooled = make("pooled", [ROWS, width]);
	const poolRows = [COND, UNCOND].map((cond): Row => ({ token: cond, tokens: 1, cond, rope: 0, key: cond * tokens, keys: tokens, append: 0 }));
	const headDim = width / poolHeads;
	const kv = { tensor: poolKv, stride: 2 * width, key: 0, value: width };
	attention(pass, { q: query, qStride: width, kv, y: pooled, heads: poolHeads, headDim, scale: headDim ** -0.5, rows: rowTable(pass, poolRows), label: "pool" });
	const sos = make("text sos", [ROWS, width]);
	linear("text_proj_for_sos.ca.proj", pooled, sos, ROWS, width, width);
	taps.keep(pass, "text.sos", sos, [ROWS, width]);

	const hidden = make("text kv hidden", [ROWS * tokens, width]);
	const source = make("text kv source", [ROWS * tokens, width]);
	linear("text_proj_for_ca.0", normed, hidden, ROWS * tokens, textChannels, width, true);
	linear("text_proj_for_ca.2", hidden, source, ROWS * tokens, width, width);
	taps.keep(pass, "text.kv_proj", source, [ROWS * tokens, width]);

	const both = pass.table([COND, UNCOND]);
	const first = pass.table([0, 0]);
	const start = make("start", [ROWS, width]);
	gatherRows(pass, { x: sos, index: both, y: start, count: ROWS, width, extra: { table: w("pos_start"), index: first }, label: "pos_start" });

	const activated = make("silu cond", [ROWS, width]);
	silu(pass, { x: sos, y: activated, count: ROWS * width, label: "silu cond" });
	const shared = make("shared_ada_lin", [ROWS, 6 * width]);
	linear("shared_ada_lin.1", activated, shared, ROWS, width, 6 * width);
	taps.keep(pass, "text.shared_gss", shared, [ROWS, 1, 6, width]);
	const headModulation = make("head modulation", [ROWS, 2 * width]);
	linear("head_nm.ada_lin.1", activated, headModulation, ROWS, width, 2 * width);

	const modulation: Tensor[] = [];
	const textKv: Tensor[] = [];
	for (let block = 0; block < depth; block++) {
		const name = blockName(config, block);
		modulation.push(make(`modulation ${block}`, [ROWS, 6 * width]));
		gatherRows(pass, { x: shared, index: both, y: modulation[block], count: ROWS, width: 6 * width, extra: { table: w(`${name}.ada_gss`), index: first }, label: `${name}.ada_gss` });
		textKv.push(make(`text kv ${block}`, [ROWS * tokens, 2 * width]));
		linear(`${name}.ca.mat_kv`, source, textKv[block], ROWS * tokens, width, 2 * width);
	}
	return { textTokens: tokens, start, modulation, headModulation, textKv, destroy: () => gpu.free(...owned) };
}

/** Official name of a block: chunk, then the block within it. */
export const blockName = (config: InfinityConfig, block: number) =>
	`block_chunks.${Math.floor(block / config.chunkBlocks)}.module.${block % config.chunkBlocks}`;
