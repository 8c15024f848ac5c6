import { attention } from "../../../kernels/attention/attention.ts";
import { rotateAndCache, starRopeTable } from "../../../kernels/attention/rope.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { normaliseHeads } from "../../../kernels/norm/head-norm.ts";
import { layerNorm } from "../../../kernels/norm/layer-norm.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import type { Part } from "../../engine/round/batch.ts";
import type { KeyValueStore } from "../../engine/round/key-value-store.ts";
import { COND, condOf, ROWS, UNCOND } from "../../engine/round/kv-plan.ts";
import { latentCells } from "../../engine/round/latents.ts";
import type { JobOptions } from "../../engine/round/model.ts";
import type { Job } from "../../engine/round/picture.ts";
import type { Workspace } from "../../engine/round/workspace.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { BlockContext, Graph, GraphShape, Quantiser, Sublayer, TapNames } from "../family.ts";
import { blockOps } from "../shared/block-ops.ts";
import { Codebook, codebookPicture, codebookTaps } from "../shared/codebook.ts";
import type { DecoderSource } from "../shared/conv-decoder.ts";
import { Rotary } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import type { ClipTextConfig } from "../text/config.ts";
import { PromptFeatures } from "../text/prompt-features.ts";
import { TextTransformer } from "../text/transformer.ts";
import type { StarConfig } from "./config.ts";

/** STAR (arXiv 2406.10797): VAR without AdaLN, text by cross attention, normalised rotary positions. */
export class StarGraph implements Graph {
	readonly shape: GraphShape;
	readonly codes: Quantiser;
	readonly picture: DecoderSource;
	readonly names: TapNames = codebookTaps;
	readonly startTokens = 1;
	/** [slots * 2, width]: encoder_proj(pooled text) + pos_start. */
	readonly start: Tensor;
	readonly embedding: Graph["embedding"];
	#gpu: Gpu;
	#config: StarConfig;
	#weights: Weights;
	#rotary: Rotary;
	/** One job's text: features, keys and values of a block, pooled text, its projection. */
	#work: { text: Tensor; keys: Tensor; pooled: Tensor; projected: Tensor };
	#prompts: PromptFeatures | undefined;
	/** Of norms without weights: ones and zeros, [width]. */
	#plain: { weight: Tensor; bias: Tensor };

	constructor(
		gpu: Gpu,
		config: StarConfig,
		schedules: Readonly<Record<string, Schedule>>,
		weights: Weights,
		slots: number,
	) {
		const { width, heads, textChannels, textMaxTokens, textEncoder } = config;
		this.shape = config;
		this.codes = new Codebook(gpu, weights, config.codebook, slots * latentCells(schedules));
		this.picture = codebookPicture(config.vae);
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		this.#rotary = new Rotary(gpu, schedules, width / heads, (_, grids) =>
			starRopeTable(grids, width / heads, config.ropeReach, config.ropeTheta),
		);
		this.start = gpu.tensor("start", [slots * ROWS, width]);
		this.embedding = {
			table: weights.get("transformer.lvl_embed.weight"),
			index: ({ scale, tokens }) => Array<number>(tokens).fill(scale),
		};
		this.#prompts = textEncoder ? new PromptFeatures(gpu, new TextTransformer(gpu, textEncoder, weights)) : undefined;
		this.#work = {
			text: gpu.tensor("text", [ROWS * textMaxTokens, textChannels]),
			keys: gpu.tensor("text keys", [ROWS * textMaxTokens, 2 * width]),
			pooled: gpu.tensor("pooled text", [ROWS, textChannels]),
			projected: gpu.tensor("projected text", [ROWS, width]),
		};
		this.#plain = {
			weight: gpu.upload("ones", [width], new Float32Array(width).fill(1)),
			bias: gpu.upload("zeros", [width], new Float32Array(width)),
		};
	}

	/** Tokens of the prompt and of the empty one, or those that a given mask leaves. */
	contextKeys({ ids, draws }: JobOptions): number[] {
		if (this.#config.textEncoder && !draws.has("text.feats"))
			return [ids, emptyText(this.#config.textEncoder)].map((text) => text.length);
		return maskOf(draws).map((tokens) => tokens.length);
	}

	ropeAt(part: Part): number {
		return this.#rotary.at(part);
	}

	opened({ taps, grids, tokens }: Job): void {
		const { heads, width, ropeReach, ropeTheta } = this.#config;
		const half = width / heads / 2;
		const positions = tokens.reduce((sum, count) => sum + count, 0);
		const table = () => starRopeTable(grids, 2 * half, ropeReach, ropeTheta);
		taps.give("rope.cos", [positions, half], () => table().subarray(0, positions * half));
		taps.give("rope.sin", [positions, half], () => table().subarray(positions * half));
	}

	begin(pass: Pass, job: Job, store: KeyValueStore): void {
		const { width, heads, depth, textChannels } = this.#config;
		const { text, keys, pooled, projected } = this.#work;
		const { slot, context, taps } = job;
		const w = (name: string) => this.#weights.get(`transformer.${name}`);
		if (this.#prompts && !job.drawn.has("text.feats")) this.#encode(pass, job);
		else this.#takeGiven(pass, job);
		matmul(pass, {
			x: pooled,
			y: projected,
			...this.#weights.linear("transformer.encoder_proj"),
			m: ROWS,
			k: textChannels,
			n: width,
			label: "encoder_proj",
		});
		taps.keep(pass, "text.sos", projected, [ROWS, width]);
		gatherRows(pass, {
			x: projected,
			index: pass.table([COND, UNCOND]),
			y: this.start,
			to: condOf(slot, 0),
			count: ROWS,
			width,
			extra: { table: w("pos_start"), index: pass.table([0, 0]) },
			label: "pos_start",
		});

		const count = context.counts[COND] + context.counts[UNCOND];
		for (let block = 0; block < depth; block++) {
			const name = `transformer.blocks.${block}.cross_attn`;
			matmul(pass, {
				x: text,
				y: keys,
				...this.#weights.linear(`${name}.mat_kv`),
				m: count,
				k: textChannels,
				n: 2 * width,
				label: `${name}.mat_kv`,
			});
			normaliseHeads(pass, {
				x: keys,
				stride: 2 * width,
				tokens: count,
				heads,
				headDim: width / heads,
				label: `${name} keys`,
			});
			copy(pass, {
				x: keys,
				y: store.tensor(block),
				to: context.keys[block] * 2 * width,
				count: count * 2 * width,
				label: `${name} text`,
			});
		}
	}

	/** Prompt, then empty prompt, to `text`; the token at the end of each to `pooled`. */
	#encode(pass: Pass, { ids, taps }: Job): void {
		const { textChannels } = this.#config;
		const { text, pooled } = this.#work;
		const prompts = this.#prompts as PromptFeatures;
		const encoder = this.#config.textEncoder as ClipTextConfig;
		let to = 0;
		for (const [row, own] of [ids, emptyText(encoder)].entries()) {
			const from = prompts.record(pass, own);
			copy(pass, {
				x: prompts.tensor,
				from: from * textChannels,
				y: text,
				to: to * textChannels,
				count: own.length * textChannels,
				label: "prompt features",
			});
			gatherRows(pass, {
				x: prompts.tensor,
				index: pass.table([from + Math.max(0, own.indexOf(encoder.endId))]),
				y: pooled,
				to: row,
				count: 1,
				width: textChannels,
				label: "pooled text",
			});
			to += own.length;
		}
		taps.keep(pass, "text.feats", text, [to, textChannels]);
		taps.keep(pass, "text.pool", pooled, [ROWS, textChannels]);
	}

	/** The same from `draws`. Masked tokens are left out: a score of -inf weighs nothing. */
	#takeGiven(pass: Pass, { drawn, draws }: Job): void {
		const { textChannels } = this.#config;
		const { text, pooled } = this.#work;
		const pool = drawn.get("text.pool");
		if (pool) copy(pass, { x: pool, y: pooled, count: ROWS * textChannels, label: "pooled text" });
		const features = drawn.get("text.feats");
		if (!features) return;
		const index = maskOf(draws).flatMap((tokens, row) =>
			tokens.map((token) => row * (features.shape[0] / textChannels / ROWS) + token),
		);
		gatherRows(pass, {
			x: features,
			index: pass.table(index),
			y: text,
			count: index.length,
			width: textChannels,
			label: "text features",
		});
	}

	readonly sublayers: readonly Sublayer[] = [
		{ name: "attn", run: (pass, context) => this.#selfAttention(pass, context) },
		{ name: "cross_attn", run: (pass, context) => this.#crossAttention(pass, context) },
		{ name: "ffn", run: (pass, context) => this.#feedForward(pass, context) },
	];

	#selfAttention(pass: Pass, context: BlockContext): void {
		const { x, work, kv, self, kept } = context;
		const { width, heads, headDim, scaleOf, cached, label, linear, tapLinear, addLinear } = this.#ops(pass, context);
		this.#norm(pass, x, work.normed, self.tokens, label("norm1"));
		linear("attn.mat_qkv", work.normed, work.qkv, width, 3 * width);
		rotateAndCache(pass, {
			qkv: work.qkv,
			cache: kv,
			cosSin: this.#rotary.table,
			positions: this.#rotary.positions,
			selected: kept,
			scaleMul: scaleOf("attn"),
			heads,
			headDim,
			rows: self,
			label: label("rope"),
		});
		attention(pass, {
			q: work.qkv,
			qStride: 3 * width,
			kv: cached,
			own: { key: width, value: 2 * width },
			y: work.attended,
			heads,
			headDim,
			scale: 1,
			rows: self,
			label: label("attn"),
		});
		tapLinear("attn.proj", work.attended, width, "attn_out");
		addLinear("attn.proj", work.attended, width);
	}

	#crossAttention(pass: Pass, context: BlockContext): void {
		const { x, work, self, cross, parts } = context;
		const { width, heads, headDim, scaleOf, cached, label, linear, tapLinear, addLinear } = this.#ops(pass, context);
		this.#norm(pass, x, work.normed, self.tokens, label("norm2"));
		linear("cross_attn.mat_q", work.normed, work.qkv, width, width);
		normaliseHeads(pass, {
			x: work.qkv,
			stride: width,
			tokens: self.tokens,
			heads,
			headDim,
			scaleMul: scaleOf("cross_attn"),
			label: label("cross_attn queries"),
		});
		attention(pass, {
			q: work.qkv,
			qStride: width,
			kv: cached,
			y: work.attended,
			heads,
			headDim,
			scale: 1,
			rows: cross,
			label: label("cross_attn"),
		});
		tapLinear("cross_attn.proj", work.attended, width, "cross_attn_out");
		// The published model adds the result of a picture's first guidance row to all of its rows.
		const first = parts.flatMap(({ at, rows, length }) =>
			Array.from({ length: rows * length }, (_, i) => at + (i % length)),
		);
		gatherRows(pass, {
			x: work.attended,
			index: pass.table(first),
			y: work.normed,
			count: self.tokens,
			width,
			label: label("first row"),
		});
		addLinear("cross_attn.proj", work.normed, width);
	}

	#feedForward(pass: Pass, context: BlockContext): void {
		const { x, work, self } = context;
		const { width, ffn, label, linear, tapLinear, addLinear } = this.#ops(pass, context);
		this.#norm(pass, x, work.normed, self.tokens, label("norm3"));
		linear("ffn.fc1", work.normed, work.hidden, width, ffn, { gelu: true });
		tapLinear("ffn.fc2", work.hidden, ffn, "ffn_out");
		addLinear("ffn.fc2", work.hidden, ffn);
	}

	#ops(pass: Pass, context: BlockContext) {
		const { width, heads, ffn } = this.#config;
		const official = `transformer.blocks.${context.index}`;
		return {
			...blockOps(pass, this.#gpu, this.#weights, this.#config, official, context),
			width,
			heads,
			ffn,
			headDim: width / heads,
			cached: { tensor: context.kv, stride: 2 * width, key: 0, value: width },
			scaleOf: (module: string) => this.#weights.get(`${official}.${module}.scale_mul_1H11`),
		};
	}

	head(pass: Pass, { x, work, rows }: { x: Tensor; work: Workspace; rows: RowTable }): void {
		this.#norm(pass, x, work.block.normed, rows.tokens, "head norm");
		matmul(pass, {
			x: work.block.normed,
			y: work.logits,
			...this.#weights.linear("transformer.head_logits"),
			m: rows.tokens,
			k: this.#config.width,
			n: this.codes.logits,
			label: "head",
		});
	}

	destroy(): void {
		this.#prompts?.destroy();
		this.#gpu.free(this.start, this.#rotary.table, ...Object.values(this.#work), ...Object.values(this.#plain));
	}

	#norm(pass: Pass, x: Tensor, y: Tensor, tokens: number, label: string): void {
		layerNorm(pass, { x, y, width: this.#config.width, eps: this.#config.normEps, tokens, ...this.#plain, label });
	}
}

/** The empty prompt, which the unconditional row sees. */
const emptyText = ({ startId, endId }: ClipTextConfig): readonly number[] => [startId, endId];

/** Places of the tokens that the mask [2, tokens] leaves, by guidance row; none without a mask. */
function maskOf(draws: JobOptions["draws"]): number[][] {
	const mask = draws.get("text.mask") ?? new Int32Array(0);
	const tokens = mask.length / ROWS;
	return [COND, UNCOND].map((row) =>
		Array.from({ length: tokens }, (_, token) => token).filter((token) => mask[row * tokens + token] !== 0),
	);
}
