import { attention } from "../../../kernels/attention/attention.ts";
import { rotateAndCache } from "../../../kernels/attention/rope.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { poolRows } from "../../../kernels/image/pool.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import { activate, silu } from "../../../kernels/pointwise/activation.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import type { Part } from "../../engine/round/batch.ts";
import { condOf, ROWS } from "../../engine/round/kv-plan.ts";
import { latentCells } from "../../engine/round/latents.ts";
import type { JobOptions } from "../../engine/round/model.ts";
import type { Job } from "../../engine/round/picture.ts";
import type { Workspace } from "../../engine/round/workspace.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { BlockContext, Graph, GraphShape, Quantiser, ResidualInput, Sublayer, TapNames } from "../family.ts";
import { blockOps, GAMMA, SCALE, SHIFT } from "../shared/block-ops.ts";
import { Codebook, codebookPicture, codebookTaps } from "../shared/codebook.ts";
import type { DecoderSource } from "../shared/conv-decoder.ts";
import type { Weights } from "../shared/weights.ts";
import type { Qwen2Config } from "../text/config.ts";
import { PromptFeatures } from "../text/prompt-features.ts";
import { TextTransformer } from "../text/transformer.ts";
import type { HartConfig } from "./config.ts";
import { ResidualDiffusion, timeEmbeddings } from "./diffusion.ts";
import { HartRotary } from "./rotary.ts";

/**
 * HART (arXiv 2410.10812): VAR whose first scale is the text, all of its padded tokens, and whose last code is followed
 * by a residual from a small diffusion. RMS norms, SwiGLU, modulation by a table and the mean text token.
 */
export class HartGraph implements Graph {
	readonly shape: GraphShape;
	readonly codes: Quantiser;
	readonly picture: DecoderSource;
	readonly names: TapNames = codebookTaps;
	readonly startTokens: number;
	readonly start: Tensor;
	readonly embedding: Graph["embedding"];
	readonly sublayers: readonly Sublayer[] = [
		{ name: "attn", run: (pass, context) => this.#attention(pass, context) },
		{ name: "ffn", run: (pass, context) => this.#feedForward(pass, context) },
	];
	#gpu: Gpu;
	#config: HartConfig;
	#weights: Weights;
	#rotary: HartRotary;
	#residual: ResidualDiffusion;
	#prompts: PromptFeatures | undefined;
	/** Token ids that the encoder reads before every prompt. */
	#instructions: readonly number[];
	/** By block: [slots * 2, 6 * width], gamma1 gamma2 scale1 scale2 shift1 shift2. */
	#modulation: Tensor[];
	/** [slots * 2, 2 * width]: scale, shift. */
	#headModulation: Tensor;
	/** [scales, width] */
	#levels: Tensor;
	/**
	 * One job's text: features of both rows, those of the unconditional one zero; normed, embedded; pooled; what becomes
	 * of that.
	 */
	#work: Record<"features" | "normed" | "embedded" | "pooled" | "activated" | "vectors", Tensor>;

	constructor(
		gpu: Gpu,
		config: HartConfig,
		schedules: Readonly<Record<string, Schedule>>,
		weights: Weights,
		slots: number,
		instructions: readonly number[],
	) {
		const { depth, width, textChannels, textMaxTokens, textEncoder, codebook, residual } = config;
		const cells = latentCells(schedules);
		this.shape = { ...config, gated: true };
		this.codes = new Codebook(gpu, weights, codebook, slots * cells, { convolveLast: false });
		this.picture = codebookPicture(config.vae);
		this.startTokens = textMaxTokens;
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		this.#rotary = new HartRotary(gpu, config, schedules, slots);
		this.#prompts = textEncoder ? new PromptFeatures(gpu, new TextTransformer(gpu, textEncoder, weights)) : undefined;
		this.#instructions = instructions;
		this.#residual = new ResidualDiffusion(gpu, residual, codebook.channels, weights, cells);
		this.start = gpu.tensor("start", [slots * ROWS * textMaxTokens, width]);
		this.#modulation = Array.from({ length: depth }, (_, block) =>
			gpu.tensor(`modulation ${block}`, [slots * ROWS, 6 * width]),
		);
		this.#headModulation = gpu.tensor("head modulation", [slots * ROWS, 2 * width]);
		const scales = Math.max(...Object.values(schedules).map(({ grids }) => grids.length));
		this.#levels = timeEmbeddings(
			gpu,
			weights,
			"transformer.lvl_embed",
			Array.from({ length: scales }, (_, scale) => scale),
			width,
		);
		this.embedding = { table: this.#levels, index: ({ scale, tokens }) => Array<number>(tokens).fill(scale) };
		this.#work = {
			features: gpu.tensor("text features", [ROWS * textMaxTokens, textChannels]),
			normed: gpu.tensor("context_norm", [ROWS * textMaxTokens, textChannels]),
			embedded: gpu.tensor("context_embed", [ROWS * textMaxTokens, width]),
			pooled: gpu.tensor("pooled text", [ROWS, width]),
			activated: gpu.tensor("silu pooled text", [ROWS, width]),
			vectors: gpu.tensor("head ada_lin", [ROWS, 2 * width]),
		};
	}

	/**
	 * None: the text comes before the picture. Throws RangeError for features or tokens of another size than the model's.
	 */
	contextKeys({ ids, draws }: JobOptions): number[] {
		const { textMaxTokens, textChannels } = this.#config;
		const [features, mask] = [draws.get("text.feats")?.length, draws.get("text.mask")?.length];
		if (features !== undefined && (features !== textMaxTokens * textChannels || mask !== textMaxTokens)) {
			throw new RangeError(
				`The text features are ${features} floats with a mask of ${mask ?? 0} tokens; this model takes ${textMaxTokens} tokens, padded, of ${textChannels}.`,
			);
		}
		if (ids.length > textMaxTokens)
			throw new RangeError(`The text has ${ids.length} tokens; this model takes ${textMaxTokens}.`);
		return [0, 0];
	}

	ropeAt(part: Part): number {
		return this.#rotary.at(part);
	}

	opened(job: Job): void {
		let valid = 0;
		const positions = this.#mask(job).map((kept) => (valid += Number(kept)) - 1);
		this.#rotary.fill(job.slot, [positions, positions.map(() => 0)]);
	}

	begin(pass: Pass, job: Job): void {
		const { slot, drawn, taps } = job;
		const { width, depth, textChannels, normEps } = this.#config;
		const { features, normed, embedded, pooled, activated, vectors } = this.#work;
		const tokens = this.startTokens;
		const m = ROWS * tokens;
		const to = condOf(slot, 0);
		const w = (name: string) => this.#weights.get(`transformer.${name}`);
		const given = drawn.get("text.feats");
		if (given) copy(pass, { x: given, y: features, count: tokens * textChannels, label: "given features" });
		else if (this.#prompts) {
			const from =
				(this.#prompts.record(pass, [...this.#instructions, ...this.#padded(job)]) + this.#instructions.length) *
				textChannels;
			copy(pass, {
				x: this.#prompts.tensor,
				from,
				y: features,
				count: tokens * textChannels,
				label: "prompt features",
			});
			taps.keep(pass, "text.feats", features, [tokens, textChannels]);
		}
		rmsNorm(pass, {
			x: features,
			y: normed,
			weight: w("context_norm.weight"),
			tokens: m,
			width: textChannels,
			eps: normEps,
			label: "context_norm",
		});
		matmul(pass, {
			x: normed,
			y: embedded,
			...this.#weights.linear("transformer.context_embed"),
			m,
			k: textChannels,
			n: width,
			label: "context_embed",
		});
		taps.keep(pass, "context.embed", embedded, [ROWS, tokens, width]);
		copy(pass, { x: embedded, y: this.start, to: to * tokens * width, count: m * width, label: "start" });

		// The unconditional row counts its first token alone, and the head all of both, padding included.
		const valid = this.#mask(job).flatMap((kept, token) => (kept ? [token] : []));
		poolRows(pass, { x: embedded, y: pooled, how: "mean", width, of: [valid, [tokens]], label: "mean text" });
		const vectorsOf = pass.table([0, 1].flatMap((row) => Array<number>(6).fill(row)));
		const table = pass.table([0, 1].flatMap(() => [0, 1, 2, 3, 4, 5]));
		for (let block = 0; block < depth; block++) {
			const extra = { table: w(`blocks.${block}.scale_shift_table`), index: table };
			gatherRows(pass, {
				x: pooled,
				index: vectorsOf,
				y: this.#modulation[block],
				to: 6 * to,
				count: 6 * ROWS,
				width,
				extra,
				label: `block ${block} modulation`,
			});
		}
		const all = Array.from({ length: tokens }, (_, token) => token);
		poolRows(pass, {
			x: embedded,
			y: pooled,
			how: "max",
			width,
			of: [all, all.map((token) => tokens + token)],
			label: "greatest text",
		});
		silu(pass, { x: pooled, y: activated, count: ROWS * width, label: "silu text" });
		matmul(pass, {
			x: activated,
			y: vectors,
			...this.#weights.linear("transformer.head_nm.ada_lin.1"),
			m: ROWS,
			k: width,
			n: 2 * width,
			label: "head_nm.ada_lin.1",
		});
		copy(pass, {
			x: vectors,
			y: this.#headModulation,
			to: to * 2 * width,
			count: ROWS * 2 * width,
			label: "head modulation",
		});
	}

	/** The prompt's token ids and the padding beside them. */
	#padded({ ids }: JobOptions): number[] {
		const { padId, padSide } = this.#config.textEncoder as Qwen2Config;
		const padding = Array<number>(this.startTokens - ids.length).fill(padId);
		return padSide === "left" ? [...padding, ...ids] : [...ids, ...padding];
	}

	/** Whether each token of the text is one, or padding. Of given features without a mask all are. */
	#mask(options: JobOptions): boolean[] {
		const { textEncoder } = this.#config;
		if (textEncoder && !options.draws.has("text.feats"))
			return this.#padded(options).map((id) => id !== textEncoder.padId);
		const mask = options.draws.get("text.mask");
		return Array.from({ length: this.startTokens }, (_, token) => mask === undefined || mask[token] !== 0);
	}

	#attention(pass: Pass, context: BlockContext): void {
		const { index, work, kv, self, kept } = context;
		const { width, heads, normalised } = this.#config;
		const headDim = width / heads;
		const { label, linear, tapLinear, addLinear } = this.#ops(pass, context);
		this.#modulated(pass, context, 0);
		linear("attn.qkv_proj", work.normed, work.qkv, width, 3 * width);
		const scaleMul = normalised ? this.#weights.get(`${official(index)}.attn.scale_mul_1H11`) : undefined;
		rotateAndCache(pass, {
			qkv: work.qkv,
			cache: kv,
			halves: this.#rotary,
			selected: kept,
			scaleMul,
			heads,
			headDim,
			rows: self,
			label: label("rope"),
		});
		const cached = { tensor: kv, stride: 2 * width, key: 0, value: width };
		const scale = normalised ? 1 : 0.25 / Math.sqrt(headDim);
		attention(pass, {
			q: work.qkv,
			qStride: 3 * width,
			kv: cached,
			own: { key: width, value: 2 * width },
			y: work.attended,
			heads,
			headDim,
			scale,
			rows: self,
			label: label("attn"),
		});
		tapLinear("attn.proj", work.attended, width, "attn_out");
		addLinear("attn.proj", work.attended, width, { table: this.#modulation[index], vector: GAMMA[0] });
	}

	#feedForward(pass: Pass, context: BlockContext): void {
		const { index, work, self } = context;
		const { width, ffn } = this.#config;
		const { label, linear, tapLinear, addLinear } = this.#ops(pass, context);
		this.#modulated(pass, context, 1);
		linear("ffn.gate_proj", work.normed, work.hidden, width, ffn);
		linear("ffn.up_proj", work.normed, work.up, width, ffn);
		activate(pass, { x: work.hidden, gated: work.up, count: self.tokens * ffn, how: "silu", label: label("gate") });
		tapLinear("ffn.down_proj", work.hidden, ffn, "ffn_out");
		addLinear("ffn.down_proj", work.hidden, ffn, { table: this.#modulation[index], vector: GAMMA[1] });
	}

	head(pass: Pass, { x, work, rows }: { x: Tensor; work: Workspace; rows: RowTable }): void {
		const { width, normEps } = this.#config;
		const weight = this.#weights.get("transformer.head_nm.ln_wo_grad.weight");
		const modulation = { table: this.#headModulation, stride: 2 * width, scale: 0, shift: width };
		modulatedNorm(pass, {
			x,
			y: work.block.normed,
			tokens: rows.tokens,
			width,
			eps: normEps,
			centred: false,
			weight,
			...modulation,
			rows,
			label: "head norm",
		});
		matmul(pass, {
			x: work.block.normed,
			y: work.logits,
			...this.#weights.linear("transformer.head"),
			m: rows.tokens,
			k: width,
			n: this.codes.logits,
			label: "head",
		});
	}

	/** The residual that the diffusion makes of the last scale's tokens and codes. */
	residual(pass: Pass, { x, at, rows, tokens, work, cell, job, run }: ResidualInput): Tensor {
		const {
			width,
			normEps,
			codebook: { channels },
		} = this.#config;
		const {
			embedded,
			values,
			block: { attended: sum, normed: z },
		} = work;
		const count = rows * tokens;
		const each = Array.from({ length: count }, (_, i) => i);
		matmul(pass, {
			x: values,
			y: embedded,
			...this.#weights.linear("transformer.word_embed"),
			m: cell + tokens,
			k: channels,
			n: width,
			label: "word_embed of codes",
		});
		const extra = { table: embedded, index: pass.table(each.map((i) => cell + (i % tokens))) };
		gatherRows(pass, {
			x,
			index: pass.table(each.map((i) => at + i)),
			y: sum,
			count,
			width,
			extra,
			label: "hidden and codes",
		});
		rmsNorm(pass, {
			x: sum,
			y: z,
			weight: this.#weights.get("transformer.decoder_norm.weight"),
			tokens: count,
			width,
			eps: normEps,
			label: "decoder_norm",
		});
		job.taps.keep(pass, "diff.cond", z, [rows, tokens, width]);
		return this.#residual.run(pass, { z, from: width, job, tokens, rows, guidance: run.guidance - 1 });
	}

	destroy(): void {
		this.#prompts?.destroy();
		this.#rotary.destroy();
		this.#residual.destroy();
		this.#gpu.free(this.start, ...this.#modulation, this.#headModulation, this.#levels, ...Object.values(this.#work));
	}

	#ops(pass: Pass, context: BlockContext) {
		return blockOps(pass, this.#gpu, this.#weights, this.#config, official(context.index), context);
	}

	/** work.normed = RMS(x) * (1 + scale) + shift; one weight serves both halves of a block. */
	#modulated(pass: Pass, { index, x, work, self }: BlockContext, half: 0 | 1): void {
		const { width, normEps } = this.#config;
		const modulation = {
			table: this.#modulation[index],
			stride: 6 * width,
			scale: SCALE[half] * width,
			shift: SHIFT[half] * width,
		};
		const weight = this.#weights.get(`${official(index)}.ln_wo_grad.weight`);
		modulatedNorm(pass, {
			x,
			y: work.normed,
			tokens: self.tokens,
			width,
			eps: normEps,
			centred: false,
			weight,
			...modulation,
			rows: self,
			label: `block ${index} norm${half + 1}`,
		});
	}
}

const official = (block: number) => `transformer.blocks.${block}`;
