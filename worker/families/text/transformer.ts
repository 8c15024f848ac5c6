import { ropeTable, rotateHalves } from "../../../kernels/attention/rotate-halves.ts";
import { type Heads, sequenceAttention } from "../../../kernels/attention/sequence-attention.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { layerNorm, rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import { activate } from "../../../kernels/pointwise/activation.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import type { Weights } from "../shared/weights.ts";
import { type Anatomy, anatomyOf, type LayerNames } from "./anatomy.ts";
import type { TextEncoderConfig } from "./config.ts";
import { relativeBuckets } from "./relative.ts";
import { TEXT_PREFIX } from "./tensors.ts";

/** In place of a token id: nobody attends to it. A prompt may itself have the token that is read there. */
export const PADDING = -1;

/** A text encoder of any kind: embeddings, pre-norm layers, final norm. One text at a time. */
export class TextTransformer {
	readonly config: TextEncoderConfig;
	#anatomy: Anatomy;
	#weights: Weights;
	/** Workspace for one text; texts of one pass use it in turn. */
	#work: Record<WorkName, Tensor>;
	/** Queries, keys and values lie in tensors of their own: they are projected so, or no binding holds them together. */
	#apart: boolean;
	/** cos, then sin: [2, maxTokens, headDim / 2]. */
	#angles: Tensor | undefined;

	/** Allocates in the scope, of tensors that only attention binds whole. */
	constructor(gpu: Gpu, scope: Scope, config: TextEncoderConfig, weights: Weights) {
		const { maxTokens } = config;
		this.config = config;
		this.#weights = weights;
		this.#anatomy = anatomyOf(config);
		const { headDim, ropeTheta } = this.#anatomy;
		const columns = workColumns(config);
		this.#apart = columns.k > 0 || 4 * maxTokens * columns.q > gpu.bindingBytes;
		if (this.#apart && columns.k === 0) columns.k = columns.v = config.width;
		this.#work = Object.fromEntries(
			Object.entries(columns).map(([name, count]) => {
				const whole = ATTENDED.includes(name) && (name !== "q" || count === this.#inner);
				return [name, scope[whole ? "tensor" : "long"](`text ${name}`, [maxTokens, count])];
			}),
		) as Record<WorkName, Tensor>;
		this.#angles =
			ropeTheta === undefined
				? undefined
				: scope.upload("text angles", [2, maxTokens, headDim / 2], ropeTable(maxTokens, headDim, ropeTheta));
	}

	/** Token ids and `PADDING`, at most the model's, -> features [tokens, width] from row `to` on. */
	record(pass: Pass, ids: readonly number[], features: Tensor, { to = 0 }: { to?: number } = {}): void {
		const { width, layers } = this.config;
		const { tokens: table, positions, relative, layer, final } = this.#anatomy;
		const { x, h } = this.#work;
		const tokens = ids.length;
		if (tokens > this.config.maxTokens)
			throw new RangeError(
				`A text of ${tokens} tokens does not fit the encoder, which takes ${this.config.maxTokens}.`,
			);
		const w = (name: string) => this.#weights.get(`${TEXT_PREFIX}${name}.weight`);
		const seen = seenIn(ids);
		const words = this.config.kind === "qwen2" ? padded(ids, this.config.padId) : ids;
		const extra =
			positions === undefined ? undefined : { table: w(positions), index: pass.table(ids.map((_, i) => i)) };
		const bias = relative && {
			table: w(relative.table),
			index: pass.table(relativeBuckets(tokens, relative.buckets, relative.distance)),
		};

		gatherRows(pass, { x: w(table), index: pass.table(words), y: x, count: tokens, width, extra, label: "text embed" });
		for (let index = 0; index < layers; index++) {
			const names = layer(index);
			this.#norm(pass, names.norm1, x, h, tokens);
			this.#attend(pass, names, tokens, seen, bias);
			this.#linear(pass, names.out, this.#work.attended, x, tokens, this.#inner, width, true);
			this.#norm(pass, names.norm2, x, h, tokens);
			this.#feedForward(pass, names, tokens);
		}
		this.#norm(pass, final, x, h, tokens);
		copy(pass, { x: h, y: features, to: to * width, count: tokens * width, label: "text features" });
	}

	/** h -> attended */
	#attend(
		pass: Pass,
		{ qkv }: LayerNames,
		tokens: number,
		seen: readonly number[] | undefined,
		bias: { table: Tensor; index: Tensor } | undefined,
	): void {
		const { width, heads } = this.config;
		const { headDim, kvHeads, scale, causal } = this.#anatomy;
		const { h, q, k, v, attended } = this.#work;
		const kvWidth = kvHeads * headDim;
		let sides: [Heads, Heads, Heads];
		if (qkv.length === 1) {
			this.#linear(pass, qkv[0], h, q, tokens, width, 3 * width);
			if (this.#apart) this.#takeApart(pass, q, [h, k, v], tokens);
			sides = [q, q, q].map((together, i) =>
				this.#apart
					? { tensor: [h, k, v][i], stride: width, at: 0 }
					: { tensor: together, stride: 3 * width, at: i * width },
			) as typeof sides;
		} else {
			sides = [q, k, v].map((tensor, i) => ({
				tensor,
				stride: i === 0 ? this.#inner : kvWidth,
				at: 0,
			})) as typeof sides;
			sides.forEach(({ tensor, stride }, i) => this.#linear(pass, qkv[i], h, tensor, tokens, width, stride));
		}
		if (this.#angles) {
			rotateHalves(pass, { x: q, tokens, heads, headDim, angles: this.#angles, label: "text rotate q" });
			rotateHalves(pass, { x: k, tokens, heads: kvHeads, headDim, angles: this.#angles, label: "text rotate k" });
		}
		sequenceAttention(pass, {
			q: sides[0],
			k: sides[1],
			v: sides[2],
			y: attended,
			tokens,
			seen,
			heads,
			kvHeads,
			headDim,
			scale,
			causal,
			bias,
			label: "text attention",
		});
	}

	/** Each row of qkv, [tokens, 3 * width], into rows of three tensors. */
	#takeApart(pass: Pass, qkv: Tensor, sides: readonly Tensor[], tokens: number): void {
		const { width } = this.config;
		for (const [i, y] of sides.entries()) {
			const index = pass.table(Array.from({ length: tokens }, (_, token) => 3 * token + i));
			gatherRows(pass, { x: qkv, index, y, count: tokens, width, label: "text qkv" });
		}
	}

	/** x += feed-forward(h) */
	#feedForward(pass: Pass, { gate, up, down }: LayerNames, tokens: number): void {
		const { width, ffn } = this.config;
		const { x, h } = this.#work;
		const how = this.#anatomy.activation;
		const count = tokens * ffn;
		this.#linear(pass, up, h, this.#work.up, tokens, width, ffn);
		if (gate === undefined) activate(pass, { x: this.#work.up, count, how, label: "text activation" });
		else {
			this.#linear(pass, gate, h, this.#work.gate, tokens, width, ffn);
			activate(pass, { x: this.#work.gate, gated: this.#work.up, count, how, label: "text gate" });
		}
		this.#linear(pass, down, gate === undefined ? this.#work.up : this.#work.gate, x, tokens, ffn, width, true);
	}

	#norm(pass: Pass, name: string, x: Tensor, y: Tensor, tokens: number): void {
		const { width, normEps: eps } = this.config;
		const label = `text ${name}`;
		if (this.#anatomy.norm === "layer")
			layerNorm(pass, { x, y, tokens, width, eps, ...this.#weights.linear(TEXT_PREFIX + name), label });
		else rmsNorm(pass, { x, y, weight: this.#weights.get(`${TEXT_PREFIX}${name}.weight`), tokens, width, eps, label });
	}

	#linear(pass: Pass, name: string, x: Tensor, y: Tensor, m: number, k: number, n: number, add = false): void {
		matmul(pass, { x, y, ...this.#weights.projection(TEXT_PREFIX + name), m, k, n, add, label: `text ${name}` });
	}

	get #inner(): number {
		return this.config.heads * this.#anatomy.headDim;
	}
}

/** What attention binds whole. */
const ATTENDED: readonly string[] = ["q", "k", "v", "attended"];
type WorkName = "x" | "h" | "q" | "k" | "v" | "attended" | "gate" | "up";

/** Floats of a token in each of the workspace's tensors. */
function workColumns(config: TextEncoderConfig): Record<WorkName, number> {
	const { width, ffn, heads } = config;
	const { headDim, kvHeads, layer } = anatomyOf(config);
	const { qkv, gate } = layer(0);
	const fused = qkv.length === 1;
	return {
		x: width,
		h: width,
		q: fused ? 3 * width : heads * headDim,
		k: fused ? 0 : kvHeads * headDim,
		v: fused ? 0 : kvHeads * headDim,
		attended: heads * headDim,
		gate: gate ? ffn : 0,
		up: ffn,
	};
}

/** Floats of the whole workspace. */
export const textWorkFloats = (config: TextEncoderConfig): number =>
	config.maxTokens * Object.values(workColumns(config)).reduce((sum, count) => sum + count, 0);

const padded = (ids: readonly number[], padId: number): readonly number[] =>
	ids.includes(PADDING) ? ids.map((id) => (id === PADDING ? padId : id)) : ids;

/** Places of the tokens that are no padding; undefined where a text has none. */
function seenIn(ids: readonly number[]): number[] | undefined {
	return ids.includes(PADDING) ? ids.flatMap((id, place) => (id === PADDING ? [] : [place])) : undefined;
}
