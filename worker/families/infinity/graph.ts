import { infinityRopeTable } from "../../../kernels/attention/rope.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import type { KeyValueStore } from "../../engine/round/key-value-store.ts";
import type { Part } from "../../engine/round/parts.ts";
import type { Picture, PictureOptions } from "../../engine/round/picture.ts";
import type { Workspace } from "../../engine/round/workspace.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { Graph, GraphShape, Quantiser, Sublayer, TapNames } from "../family.ts";
import { Bsq } from "../shared/bsq.ts";
import type { DecoderSource } from "../shared/conv-decoder.ts";
import { Rotary } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import { infinitySublayers } from "./blocks.ts";
import type { InfinityConfig } from "./config.ts";
import { InfinityText } from "./text.ts";

/**
 * The Infinity family (arXiv 2412.04431): text to bits; AdaLN from the pooled text, cross attention, rotary positions.
 */
export class InfinityGraph implements Graph {
	readonly shape: GraphShape;
	readonly codes: Quantiser;
	readonly picture: DecoderSource;
	readonly names: TapNames;
	readonly startTokens = 1;
	readonly start: Tensor;
	readonly embedding: Graph["embedding"];
	readonly sublayers: readonly Sublayer[];
	#gpu: Gpu;
	#config: InfinityConfig;
	#weights: Weights;
	#text: InfinityText;
	#rotary: Rotary;

	constructor(
		gpu: Gpu,
		config: InfinityConfig,
		schedules: Readonly<Record<string, Schedule>>,
		weights: Weights,
		slots: number,
	) {
		const { width, heads, ropeReach, chunkBlocks } = config;
		this.shape = config;
		this.codes = new Bsq(config.bits, config.patchify);
		this.picture = {
			config: config.vae,
			conv: (module) => `${module}.conv`,
			norm: (module) => `${module}.norm`,
			attentive: false,
		};
		this.names = {
			input: "block_in",
			logits: "logits_pre",
			mixed: "logits_post",
			latent: "summed_codes",
			final: "summed_codes_final",
			spanInput: "in",
			map: (scale) => ({ name: `s${scale}.word_embed_in`, channelsFirst: false }),
			span: (block) => `c${Math.floor(block / chunkBlocks)}`,
		};
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		this.#text = new InfinityText(gpu, config, weights, slots);
		this.#rotary = new Rotary(gpu, schedules, width / heads, (name, grids) =>
			infinityRopeTable(grids, width / heads, ropeReach[name]),
		);
		this.sublayers = infinitySublayers({
			gpu,
			config,
			weights,
			modulation: this.#text.modulation,
			rotary: this.#rotary,
		});
		this.start = this.#text.start;
		this.embedding = {
			table: weights.get("transformer.lvl_embed.weight"),
			index: ({ scale, tokens }) => Array<number>(tokens).fill(scale),
		};
	}

	/** Unconditional features are as many as the prompt has tokens. */
	contextKeys({ ids, draws }: PictureOptions): number[] {
		const features = draws.get("text.feats");
		const tokens = features ? features.length / this.#config.textChannels : ids.length;
		return [tokens, tokens];
	}

	ropeAt(part: Part): number {
		return this.#rotary.at(part);
	}

	opened({ taps, plan, grids, tokens }: Picture): void {
		const { heads, width, ropeReach } = this.#config;
		const headDim = width / heads;
		taps.give("rope.cache", [2, tokens.reduce((sum, count) => sum + count, 0), headDim / 2], () =>
			infinityRopeTable(grids, headDim, ropeReach[plan.schedule]),
		);
	}

	begin(pass: Pass, job: Picture, store: KeyValueStore): void {
		this.#text.record(pass, job, store);
	}

	head(pass: Pass, { x, work, rows }: { x: Tensor; work: Workspace; rows: RowTable }): void {
		const { width, normEps } = this.#config;
		const modulation = { table: this.#text.headModulation, stride: 2 * width, scale: 0, shift: width, rows };
		modulatedNorm(pass, {
			x,
			y: work.block.normed,
			tokens: rows.tokens,
			width,
			eps: normEps,
			centred: true,
			...modulation,
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

	destroy(): void {
		this.#text.destroy();
		this.#gpu.free(this.#rotary.table);
	}
}
