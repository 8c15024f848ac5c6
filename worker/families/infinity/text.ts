import { attention } from "../../../kernels/attention/attention.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import { type Row, rowTable } from "../../../kernels/tokens/rows.ts";
import type { KeyValueStore } from "../../engine/round/key-value-store.ts";
import { COND, condOf, ROWS, UNCOND } from "../../engine/round/kv-plan.ts";
import type { Picture } from "../../engine/round/picture.ts";
import type { Weights } from "../shared/weights.ts";
import { PromptFeatures } from "../text/prompt-features.ts";
import { TextTransformer } from "../text/transformer.ts";
import type { InfinityConfig } from "./config.ts";

/**
 * What the text gives every scale, by slot and guidance row: start tokens, modulations, cross-attention keys and
 * values.
 */
export class InfinityText {
	/** [slots * 2, width]: pooled text + pos_start, the input of scale 0. */
	readonly start: Tensor;
	/** By block: [slots * 2, 6 * width], gamma1 gamma2 scale1 scale2 shift1 shift2. */
	readonly modulation: readonly Tensor[];
	/** [slots * 2, 2 * width]: scale, shift. */
	readonly headModulation: Tensor;
	#config: InfinityConfig;
	#weights: Weights;
	#prompts: PromptFeatures | undefined;
	#gpu: Gpu;
	#owned: Tensor[] = [];
	/** Workspace for one prompt; prompts of one pass use it in turn. */
	#work: Record<
		| "features"
		| "normed"
		| "poolKv"
		| "query"
		| "pooled"
		| "sos"
		| "hidden"
		| "source"
		| "activated"
		| "shared"
		| "head"
		| "textKv",
		Tensor
	>;

	constructor(gpu: Gpu, config: InfinityConfig, weights: Weights, slots: number) {
		const { width, textChannels, textMaxTokens: most, depth } = config;
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		const make = (label: string, ...shape: number[]) => {
			const tensor = gpu.tensor(label, shape);
			this.#owned.push(tensor);
			return tensor;
		};
		this.start = make("start", slots * ROWS, width);
		this.modulation = Array.from({ length: depth }, (_, block) => make(`modulation ${block}`, slots * ROWS, 6 * width));
		this.headModulation = make("head modulation", slots * ROWS, 2 * width);
		this.#work = {
			features: make("text features", ROWS * most, textChannels),
			normed: make("text norm", ROWS * most, textChannels),
			poolKv: make("pool kv", ROWS * most, 2 * width),
			query: make("pool query", ROWS, width),
			pooled: make("pooled", ROWS, width),
			sos: make("text sos", ROWS, width),
			hidden: make("text kv hidden", ROWS * most, width),
			source: make("text kv source", ROWS * most, width),
			activated: make("silu cond", ROWS, width),
			shared: make("shared_ada_lin", ROWS, 6 * width),
			head: make("head ada_lin", ROWS, 2 * width),
			textKv: make("text kv", ROWS * most, 2 * width),
		};
		this.#prompts = config.textEncoder
			? new PromptFeatures(gpu, new TextTransformer(gpu, config.textEncoder, weights))
			: undefined;
	}

	/** Encodes one job's prompt into the rows of its slot. */
	record(pass: Pass, { slot, ids, drawn, context, taps }: Picture, store: KeyValueStore): void {
		const { width, textChannels, depth, poolHeads, normEps } = this.#config;
		const { features, normed, poolKv, query, pooled, sos, hidden, source, activated, shared, head, textKv } =
			this.#work;
		const w = (name: string) => this.#weights.get(`transformer.${name}`);
		const linear = (name: string, x: Tensor, y: Tensor, m: number, k: number, n: number, gelu = false) =>
			matmul(pass, { x, y, ...this.#weights.linear(`transformer.${name}`), m, k, n, gelu, label: name });

		const tokens = context.counts[COND];
		// Unconditional features are as many learned rows as the prompt has tokens, so both halves have equal length.
		const half = tokens * textChannels;
		const given = drawn.get("text.feats");
		if (given) copy(pass, { x: given, y: features, count: half, label: "given features" });
		else if (this.#prompts) {
			const from = this.#prompts.record(pass, ids) * textChannels;
			taps.keep(pass, "text.feats", this.#prompts.tensor, [tokens, textChannels], { from });
			copy(pass, { x: this.#prompts.tensor, from, y: features, count: half, label: "prompt features" });
		}
		copy(pass, { x: w("cfg_uncond"), y: features, to: half, count: half, label: "cfg_uncond" });
		rmsNorm(pass, {
			x: features,
			y: normed,
			weight: w("text_norm.weight"),
			tokens: ROWS * tokens,
			width: textChannels,
			eps: normEps,
			label: "text_norm",
		});
		taps.keep(pass, "text.norm_out", normed, [ROWS * tokens, textChannels]);

		// Attentive pooling: one learned query a row over that row's own tokens.
		linear("text_proj_for_sos.ca.mat_kv", normed, poolKv, ROWS * tokens, textChannels, 2 * width);
		gatherRows(pass, {
			x: w("text_proj_for_sos.ca.mat_q"),
			index: pass.table([0, 0]),
			y: query,
			count: ROWS,
			width,
			label: "pool query",
		});
		const poolRows = [COND, UNCOND].map(
			(cond): Row => ({ token: cond, tokens: 1, cond, rope: 0, key: cond * tokens, keys: tokens, append: 0 }),
		);
		const headDim = width / poolHeads;
		const kv = { tensor: poolKv, stride: 2 * width, key: 0, value: width };
		attention(pass, {
			q: query,
			qStride: width,
			kv,
			y: pooled,
			heads: poolHeads,
			headDim,
			scale: headDim ** -0.5,
			rows: rowTable(pass, poolRows),
			label: "pool",
		});
		linear("text_proj_for_sos.ca.proj", pooled, sos, ROWS, width, width);
		taps.keep(pass, "text.sos", sos, [ROWS, width]);

		linear("text_proj_for_ca.0", normed, hidden, ROWS * tokens, textChannels, width, true);
		linear("text_proj_for_ca.2", hidden, source, ROWS * tokens, width, width);
		taps.keep(pass, "text.kv_proj", source, [ROWS * tokens, width]);

		const both = pass.table([COND, UNCOND]);
		const first = pass.table([0, 0]);
		const to = condOf(slot, 0);
		gatherRows(pass, {
			x: sos,
			index: both,
			y: this.start,
			to,
			count: ROWS,
			width,
			extra: { table: w("pos_start"), index: first },
			label: "pos_start",
		});
		silu(pass, { x: sos, y: activated, count: ROWS * width, label: "silu cond" });
		linear("shared_ada_lin.1", activated, shared, ROWS, width, 6 * width);
		taps.keep(pass, "text.shared_gss", shared, [ROWS, 1, 6, width]);
		linear("head_nm.ada_lin.1", activated, head, ROWS, width, 2 * width);
		gatherRows(pass, {
			x: head,
			index: both,
			y: this.headModulation,
			to,
			count: ROWS,
			width: 2 * width,
			label: "head modulation",
		});
		for (let block = 0; block < depth; block++) {
			const name = blockName(this.#config, block);
			const extra = { table: w(`${name}.ada_gss`), index: first };
			gatherRows(pass, {
				x: shared,
				index: both,
				y: this.modulation[block],
				to,
				count: ROWS,
				width: 6 * width,
				extra,
				label: `${name}.ada_gss`,
			});
			linear(`${name}.ca.mat_kv`, source, textKv, ROWS * tokens, width, 2 * width);
			copy(pass, {
				x: textKv,
				y: store.tensor(block),
				to: context.keys[block] * 2 * width,
				count: ROWS * tokens * 2 * width,
				label: `${name} text kv`,
			});
		}
	}

	destroy(): void {
		this.#prompts?.destroy();
		this.#gpu.free(...this.#owned);
	}
}

/** Official name of a block: chunk, then the block within it. */
export const blockName = (config: InfinityConfig, block: number) =>
	`block_chunks.${Math.floor(block / config.chunkBlocks)}.module.${block % config.chunkBlocks}`;
