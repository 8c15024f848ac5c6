/**
 * What a family adds to the walk over scales that all of them share: conditioning, blocks, head, codes, picture
 * decoder.
 */

import type { Tensor } from "../../kernels/gpu/gpu.ts";
import type { Pass } from "../../kernels/gpu/pass.ts";
import type { ImageShape } from "../../kernels/image/images.ts";
import type { Resize } from "../../kernels/image/interpolate.ts";
import type { SampleRow } from "../../kernels/sample/row.ts";
import type { RowTable } from "../../kernels/tokens/rows.ts";
import type { Part } from "../engine/round/batch.ts";
import type { KeyValueStore } from "../engine/round/key-value-store.ts";
import type { JobOptions } from "../engine/round/model.ts";
import type { Job } from "../engine/round/picture.ts";
import type { BlockWork, Workspace } from "../engine/round/workspace.ts";
import type { RunStep } from "../protocol/plan.ts";
import type { BlockPart } from "./shared/block-ops.ts";
import type { DecoderSource } from "./shared/conv-decoder.ts";

export interface GraphShape {
	depth: number;
	width: number;
	heads: number;
	ffn: number;
	/** The feed-forward has two projections in, one of which gates the other. */
	gated?: boolean;
}

/** How tokens become codes and codes a latent. */
export interface Quantiser {
	/** Bits of a token's code, on the wire and in the log. */
	readonly bits: number;
	/** Floats of a token's logits. */
	readonly logits: number;
	/** Choices that make a token's code, each among logits / choices values. */
	readonly choices: number;
	/** Cells of the latent per side of a token. */
	readonly patch: number;
	/** Floats of a latent's cell, a multiple of 4. */
	readonly channels: number;
	/** Of a token: its code as numbers, and what its embedding reads. `channels` where a token is one cell. */
	readonly features: number;
	/** How the latent is brought to the size of a scale, as its input or to look at it. */
	readonly shrink: Resize;
	/**
	 * Guidance and sampling, `taus` [rows] before the rows' own: logits [tokens, logits] -> mixed [out tokens, logits],
	 * codes u32 [out tokens, words].
	 */
	sample(
		pass: Pass,
		op: { logits: Tensor; mixed: Tensor; codes: Tensor; taus?: Tensor; rows: readonly SampleRow[] },
	): void;
	/** Codes u32 [tokens, words] -> values [tokens, features]. */
	values(pass: Pass, op: { codes: Tensor; values: Tensor; tokens: number }): void;
	/** Adds the values of each part's scale, as cells, to its latent; the first scale's overwrite it. */
	add(pass: Pass, op: { values: Tensor; latents: Tensor; parts: readonly LatentPart[] }): void;
	destroy(): void;
}
export interface LatentPart {
	scale: number;
	scales: number;
	/** Of the values, and of the latent. */
	from: ImageShape;
	to: ImageShape;
}

/** Reference names of what all families have, without the scale's prefix. */
export interface TapNames {
	input: string;
	logits: string;
	mixed: string;
	latent: string;
	final: string;
	/** The latent at the size of scale `scale`: what its word embedding reads. */
	map(scale: number): { name: string; channelsFirst: boolean };
	/** Prefix of the tensors of a span from `block` on (`c1`, `blk3`), and its full-length input under that prefix. */
	span(block: number): string;
	spanInput: string;
}

export interface BlockContext {
	index: number;
	work: BlockWork;
	/** [tokens, width]; updated in place. */
	x: Tensor;
	/** Of this block, [keys, 2 * width]: cached keys and values, those of the text too. */
	kv: Tensor;
	/**
	 * Rows with the keys they see and append, the same rows with their text, and with that of no prompt where any is
	 * guided by it.
	 */
	self: RowTable;
	cross: RowTable;
	blank?: RowTable;
	/** u32: positions of kept tokens, for rows that have them. */
	kept: Tensor | undefined;
	parts: readonly BlockPart[];
}

export interface Sublayer {
	/** In reference names. */
	name: string;
	run(pass: Pass, context: BlockContext): void;
}

/** One job's last scale. */
export interface ResidualInput {
	/** [.., width]: its tokens, those of every guidance row after each other, from token `at` on. */
	x: Tensor;
	at: number;
	rows: number;
	tokens: number;
	/** Its codes stand in `work.values` from `cell` on. */
	work: Workspace;
	cell: number;
	job: Job;
	run: RunStep;
}

export interface Graph {
	readonly shape: GraphShape;
	readonly codes: Quantiser;
	readonly picture: DecoderSource;
	readonly names: TapNames;
	/** Tokens of scale 0's input, the last of which gives its code: 1, or those of the text. */
	readonly startTokens: number;
	/** By slot and guidance row: input of scale 0, before the level embedding. [slots * 2 * startTokens, width] */
	readonly start: Tensor;
	/** Added to every token's embedding: row `index(part)[i]` of the table to token i. */
	readonly embedding: { table: Tensor; index(part: Part): number[] };
	/** Keys that cross attention needs, by guidance row. */
	contextKeys(options: JobOptions): readonly number[];
	/** First rotary position of a part's scale; 0 where there is none. */
	ropeAt(part: Part): number;
	/** Hands over what does not depend on the pass. */
	opened(job: Job): void;
	/** Conditioning of one job, into the rows of its slot and its keys. */
	begin(pass: Pass, job: Job, store: KeyValueStore): void;
	/** What a block is made of, in order, self attention first. Each adds to the residual stream. */
	readonly sublayers: readonly Sublayer[];
	/** x [tokens, width] -> logits [tokens, logits]. */
	head(pass: Pass, op: { x: Tensor; work: Workspace; rows: RowTable }): void;
	/**
	 * What the latent has beyond its codes, token by token of the last scale: [tokens, channels], until the next call.
	 */
	residual?(pass: Pass, op: ResidualInput): Tensor;
	destroy(): void;
}
