import { attention } from "../../../kernels/attention/attention.ts";
import { rotateAndCache } from "../../../kernels/attention/rope.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import { condOf, ROWS } from "../../engine/round/kv-plan.ts";
import { latentCells } from "../../engine/round/latents.ts";
import type { Picture } from "../../engine/round/picture.ts";
import type { Workspace } from "../../engine/round/workspace.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { BlockContext, Graph, GraphShape, Quantiser, Sublayer, TapNames } from "../family.ts";
import { blockOps, GAMMA, SCALE, SHIFT } from "../shared/block-ops.ts";
import { Codebook, codebookPicture, codebookTaps } from "../shared/codebook.ts";
import type { DecoderSource } from "../shared/conv-decoder.ts";
import { firstToken } from "../shared/rotary.ts";
import type { Weights } from "../shared/weights.ts";
import type { VarConfig } from "./config.ts";

/**
 * VAR (arXiv 2404.02905): a class to codes of a vocabulary; AdaLN from the class embedding, learned absolute positions.
 */
export class VarGraph implements Graph {
	readonly shape: GraphShape;
	readonly codes: Quantiser;
	readonly picture: DecoderSource;
	readonly names: TapNames;
	readonly startTokens = 1;
	/** [slots * 2, width]: class embedding + pos_start. */
	readonly start: Tensor;
	readonly embedding: Graph["embedding"];
	#gpu: Gpu;
	#config: VarConfig;
	#weights: Weights;
	/** By block: [slots * 2, 6 * width]. */
	#modulation: Tensor[];
	/** [slots * 2, 2 * width]: scale, shift. */
	#headModulation: Tensor;
	/** [tokens, width]: learned positions with their levels. */
	#positions: Tensor;
	/** For one job's classes: embeddings, those through SiLU, AdaLN vectors. */
	#work: { cond: Tensor; activated: Tensor; vectors: Tensor };

	constructor(
		gpu: Gpu,
		config: VarConfig,
		schedules: Readonly<Record<string, Schedule>>,
		weights: Weights,
		slots: number,
	) {
		const { width, depth, tokens } = config;
		this.shape = config;
		this.codes = new Codebook(gpu, weights, config.codebook, slots * latentCells(schedules));
		this.picture = codebookPicture(config.vae);
		this.names = codebookTaps;
		this.#gpu = gpu;
		this.#config = config;
		this.#weights = weights;
		this.start = gpu.tensor("start", [slots * ROWS, width]);
		this.#modulation = Array.from({ length: depth }, (_, block) =>
			gpu.tensor(`modulation ${block}`, [slots * ROWS, 6 * width]),
		);
		this.#headModulation = gpu.tensor("head modulation", [slots * ROWS, 2 * width]);
		this.#positions = gpu.tensor("positions and levels", [tokens, width]);
		this.#work = {
			cond: gpu.tensor("class", [ROWS, width]),
			activated: gpu.tensor("silu class", [ROWS, width]),
			vectors: gpu.tensor("AdaLN vectors", [ROWS, 6 * width]),
		};
		this.embedding = {
			table: this.#positions,
			index: ({ picture, scale, tokens }) =>
				Array.from({ length: tokens }, (_, i) => firstToken(picture.tokens, scale) + i),
		};

		// Every schedule has the tokens of the model's positions, scale by scale.
		const [{ grids }] = Object.values(schedules);
		const levels = grids.flatMap(([height, side], scale) => Array<number>(height * side).fill(scale));
		const pass = gpu.pass("positions");
		const level = { table: weights.get("transformer.lvl_embed.weight"), index: pass.table(levels) };
		gatherRows(pass, {
			x: weights.get("transformer.pos_1LC"),
			index: pass.table(levels.map((_, i) => i)),
			y: this.#positions,
			count: tokens,
			width,
			extra: level,
			label: "positions and levels",
		});
		pass.submit();
	}

	contextKeys(): number[] {
		return [0, 0];
	}

	ropeAt(): number {
		return 0;
	}

	opened(): void {}

	begin(pass: Pass, { ids: [label], slot, taps }: Picture): void {
		const { width, depth, classes, adaln } = this.#config;
		const { cond, activated, vectors } = this.#work;
		const w = (name: string) => this.#weights.get(`transformer.${name}`);
		const linear = (name: string, y: Tensor, n: number) =>
			matmul(pass, {
				x: activated,
				y,
				...this.#weights.linear(`transformer.${name}`),
				m: ROWS,
				k: width,
				n,
				label: name,
			});
		const both = pass.table([0, 1]);
		const first = pass.table([0, 0]);
		const to = condOf(slot, 0);
		// The class after the last one stands for none.
		gatherRows(pass, {
			x: w("class_emb.weight"),
			index: pass.table([label, classes]),
			y: cond,
			count: ROWS,
			width,
			label: "class_emb",
		});
		taps.keep(pass, "cond_BD", cond, [ROWS, width]);
		gatherRows(pass, {
			x: cond,
			index: both,
			y: this.start,
			to,
			count: ROWS,
			width,
			extra: { table: w("pos_start"), index: first },
			label: "pos_start",
		});
		silu(pass, { x: cond, y: activated, count: ROWS * width, label: "silu class" });
		if (adaln === "shared") {
			linear("shared_ada_lin.1", vectors, 6 * width);
			taps.keep(pass, "shared_gss", vectors, [ROWS, 1, 6, width]);
		}
		for (let block = 0; block < depth; block++) {
			const name = `blocks.${block}`;
			if (adaln === "block") linear(`${name}.ada_lin.1`, vectors, 6 * width);
			const extra = adaln === "shared" ? { table: w(`${name}.ada_gss`), index: first } : undefined;
			gatherRows(pass, {
				x: vectors,
				index: both,
				y: this.#modulation[block],
				to,
				count: ROWS,
				width: 6 * width,
				extra,
				label: `${name} modulation`,
			});
		}
		linear("head_nm.ada_lin.1", vectors, 2 * width);
		gatherRows(pass, {
			x: vectors,
			index: both,
			y: this.#headModulation,
			to,
			count: ROWS,
			width: 2 * width,
			label: "head modulation",
		});
	}

	readonly sublayers: readonly Sublayer[] = [
		{ name: "attn", run: (pass, context) => this.#attention(pass, context) },
		{ name: "ffn", run: (pass, context) => this.#feedForward(pass, context) },
	];

	#attention(pass: Pass, context: BlockContext): void {
		const { index, work, kv, self } = context;
		const { width, heads, normalised, normEps } = this.#config;
		const headDim = width / heads;
		const modulation = this.#modulation[index];
		const { label, linear, tapLinear, addLinear, modulated } = this.#ops(pass, context);
		modulated(modulation, SCALE[0], SHIFT[0], normEps, "norm1");
		linear("attn.mat_qkv", work.normed, work.qkv, width, 3 * width);
		const scaleMul = normalised ? this.#weights.get(`${official(index)}.attn.scale_mul_1H11`) : undefined;
		rotateAndCache(pass, { qkv: work.qkv, cache: kv, scaleMul, heads, headDim, rows: self, label: label("cache") });
		const scale = normalised ? 1 : 0.25 / Math.sqrt(headDim);
		attention(pass, {
			q: work.qkv,
			qStride: 3 * width,
			kv: { tensor: kv, stride: 2 * width, key: 0, value: width },
			own: { key: width, value: 2 * width },
			y: work.attended,
			heads,
			headDim,
			scale,
			rows: self,
			label: label("attn"),
		});
		tapLinear("attn.proj", work.attended, width, "attn_out");
		addLinear("attn.proj", work.attended, width, { table: modulation, vector: GAMMA[0] });
	}

	#feedForward(pass: Pass, context: BlockContext): void {
		const { index, work } = context;
		const { width, ffn, normEps } = this.#config;
		const modulation = this.#modulation[index];
		const { linear, tapLinear, addLinear, modulated } = this.#ops(pass, context);
		modulated(modulation, SCALE[1], SHIFT[1], normEps, "norm2");
		linear("ffn.fc1", work.normed, work.hidden, width, ffn, { gelu: true });
		tapLinear("ffn.fc2", work.hidden, ffn, "ffn_out");
		addLinear("ffn.fc2", work.hidden, ffn, { table: modulation, vector: GAMMA[1] });
	}

	#ops(pass: Pass, context: BlockContext) {
		return blockOps(pass, this.#gpu, this.#weights, this.#config, official(context.index), context);
	}

	head(pass: Pass, { x, work, rows }: { x: Tensor; work: Workspace; rows: RowTable }): void {
		const { width, normEps } = this.#config;
		const modulation = { table: this.#headModulation, stride: 2 * width, scale: 0, shift: width, rows };
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
		this.#gpu.free(
			this.start,
			...this.#modulation,
			this.#headModulation,
			this.#positions,
			...Object.values(this.#work),
		);
	}
}

const official = (block: number) => `transformer.blocks.${block}`;
