/**
 * What a family of models is to everybody else, in one record: the form of its configuration and what follows from it,
 * its tensors, what it costs, the graph that runs it, and how its published checkpoints say all that. Adding a family
 * is a folder with such a record and a line in index.ts.
 *
 * A graph sees pictures, keys and activations as read-only views; the engine's own are of these forms.
 */
import type { z } from "zod";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { Pass } from "../../kernels/gpu/pass.ts";
import type { Tensor } from "../../kernels/gpu/tensor.ts";
import type { ImageShape } from "../../kernels/image/images.ts";
import type { Resize } from "../../kernels/image/interpolate.ts";
import type { SampleRow } from "../../kernels/sample/row.ts";
import type { RowTable } from "../../kernels/tokens/rows.ts";
import type { TensorShape } from "../../model-shards/format/tensor-shapes.ts";
import type { ModelInfo, Schedule } from "../protocol/model-info.ts";
import type { Official, Published } from "./checkpoints.ts";
import type { BlockPart } from "./shared/block-ops.ts";
import type { Schedules } from "./shared/schedules.ts";
import type { Taps } from "./shared/taps.ts";
import type { DecoderSource } from "./shared/vae.ts";
import type { Weights } from "./shared/weights.ts";
import type { TextEncoderConfig } from "./text/config.ts";
import type { PromptFeatures } from "./text/prompt-features.ts";

export interface Family<Config extends object = object> {
	/** As manifests name it. */
	name: string;
	config: z.ZodType<Config>;
	/** What of the configuration contradicts itself or the schedules, beside what holds for every family. */
	problems(config: Config, schedules: Schedules): string[];
	facts(config: Config): Facts;
	/** Everything that inference reads, by official names under `text_encoder.`, `transformer.` and `vae.`, in order. */
	tensors(config: Config): TensorShape[];
	/** Names under `transformer.` and `vae.` that checkpoints may hold beside them. */
	unused: RegExp;
	costs(config: Config): Costs;
	/** Throws what the device throws, with nothing left allocated. */
	graph(input: GraphInput<Config>): Graph;
	/** The configuration with this text encoder, yet to be checked. Absent: the family takes none. */
	withText?(config: Config, textEncoder: TextEncoderConfig): object;
	official: Official<Config>;
	published: Published<Config>;
}

/** By name. */
export type Families = Readonly<Record<string, Family>>;

/** What follows from a configuration and is for others to know. */
export interface Facts {
	shape: GraphShape;
	codes: CodeShape;
	decoder: DecoderSource;
	names: TapNames;
	/** Tokens of scale 0's input, the last of which gives its code: 1, or those of the text. */
	startTokens: number;
	/** Neighbouring blocks that StageVAR projects over at once. */
	chunkBlocks: number;
	/** Null: it draws classes. */
	text: TextFacts | null;
	/** Classes it draws in place of text. */
	classes?: number;
	lowRank?: ModelInfo["lowRank"];
	guidesByText?: boolean;
	/** Width of the network that refines the latent behind the last scale's codes. Absent: codes are all. */
	refinerWidth?: number;
}

export interface TextFacts {
	/** Width of the features, and the most tokens of a prompt. */
	channels: number;
	maxTokens: number;
	/** Null: features are given. */
	encoder: TextEncoderConfig | null;
	/** Text that the encoder reads before every prompt; empty: none. */
	instructions: string;
	/** Heads of the attention that pools the text; absent: it is not pooled so. */
	poolHeads?: number;
}

export interface GraphShape {
	depth: number;
	width: number;
	heads: number;
	ffn: number;
	/** The feed-forward has two projections in, one of which gates the other. */
	gated?: boolean;
}

/** Numbers of a token's code. */
export interface CodeShape {
	/** Bits of a token's code, on the wire and in the log. */
	readonly bits: number;
	/** Choices that make a token's code, and how many alternatives each has. */
	readonly choices: number;
	readonly alternatives: number;
	/** Cells of the latent per side of a token. */
	readonly patch: number;
	/** Numbers of a latent's cell. */
	readonly numbers: number;
	/** On a device, multiples of 4 with zeros behind: floats of a token's logits, choices * alternatives of them, */
	readonly logits: number;
	/** of a latent's cell, `numbers` of them, */
	readonly channels: number;
	/** and of a token: its code as numbers, and what its embedding reads. `channels` where a token is one cell. */
	readonly features: number;
}

/** What a picture costs on paper, in multiply-adds, and what a graph holds beside its weights. */
export interface Costs {
	/** Of one token in one block, attention left out. */
	block: number;
	/** Cross attention of every block sees the text. */
	crossAttention: boolean;
	/** Of one picture before its first scale, by guidance row: a constant, and for every token of the text. */
	begin: number;
	perText: number;
	/** Of one token of the last scale, by guidance row, after it. */
	residual: number;
	/**
	 * Floats on the device: once, for every slot, for every cell of a latent, of all slots' latents, and, left out where
	 * there are none, for every position of every schedule.
	 */
	floats: { once: number; slot: number; cell: number; slotCell: number; position?: number };
}

/** How tokens become codes and codes a latent. */
export interface Quantiser extends CodeShape {
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

/** Random draws and text features to use in place of the generator's, by reference name. */
export type Draws = ReadonlyMap<string, Float32Array | Int32Array>;

/** What a picture is to show. */
export interface Subject {
	/** Token ids of the prompt, or the one class label. */
	readonly ids: readonly number[];
	readonly draws: Draws;
}

/** A picture that is being made, as a graph sees it. */
export interface PictureView extends Subject {
	readonly seed: number;
	/** Its place in the tables that all pictures share. */
	readonly slot: number;
	readonly plan: { readonly schedule: string };
	readonly grids: Schedule["grids"];
	/** Of every scale. */
	readonly tokens: readonly number[];
	/** Keys of the text: first by block, and how many by guidance row, one after the other. */
	readonly context: { readonly keys: readonly number[]; readonly counts: readonly number[] };
	/** Given draws, on the device. */
	readonly drawn: ReadonlyMap<string, Tensor>;
	readonly taps: Taps;
}

/** Cached keys and values, [keys, 2 * width] a block: keys in the first half of a row, values in the second. */
export interface KeyStore {
	/** Puts `count` rows of x, [count, 2 * width], to a block from a key on, all of one range. */
	put(pass: Pass, op: { x: Tensor; block: number; key: number; count: number; label: string }): void;
}

/** Rows whose keys lie in one tensor. */
export interface KeyRows {
	/** [keys, 2 * width]: cached keys and values, as they are read. */
	kv: Tensor;
	rows: RowTable;
	/**
	 * Where they lie packed: `unpack` puts to kv what the rows read, `pack` stores theirs out of the projection of the
	 * batch, queries, keys and values of a token one after the other.
	 */
	packed?: { unpack(pass: Pass): void; pack(pass: Pass, qkv: Tensor): void };
}

/** Activations inside a block, reused by every block. */
export interface BlockWork {
	/** [rows, width] */
	readonly normed: Tensor;
	/** [rows, 3 * width] of as many sequences as are projected at a time, or [rows, width] of all. */
	readonly qkv: Tensor;
	/** [rows, width] */
	readonly attended: Tensor;
	/** [rows, ffn] of as many as are between its layers at a time, and what gates it where something does. */
	readonly hidden: Tensor;
	readonly up: Tensor;
}

/** Activations of a round. */
export interface RoundWork {
	readonly block: BlockWork;
	/** [rows, logits] */
	readonly logits: Tensor;
	/** [cells, channels]: maps of the codes as numbers. */
	readonly values: Tensor;
	/** [cells, width] */
	readonly embedded: Tensor;
}

export interface BlockContext {
	index: number;
	work: BlockWork;
	/** [tokens, width]; updated in place. */
	x: Tensor;
	/** All rows. */
	self: RowTable;
	/** With the keys they see and append, in groups of neighbours: those from token `at` on, counted from it. */
	groups: readonly (KeyRows & { at: number })[];
	/** With their text, and with that of no prompt where any is guided by it. */
	cross: readonly KeyRows[];
	blank?: readonly KeyRows[];
	/** u32: positions of selected tokens, for rows that have them. */
	selected: Tensor | undefined;
	parts: readonly BlockPart[];
}

export interface Sublayer {
	/** In reference names. */
	name: string;
	run(pass: Pass, context: BlockContext): void;
}

/** One picture's last scale. */
export interface ResidualInput {
	/** [.., width]: its tokens, those of every guidance row after each other, from token `at` on. */
	x: Tensor;
	at: number;
	rows: number;
	tokens: number;
	/** Its codes stand in `work.values` from `cell` on. */
	work: RoundWork;
	cell: number;
	picture: PictureView;
	guidance: number;
}

/** What a graph is made of. */
export interface GraphInput<Config = object> {
	gpu: Gpu;
	config: Config;
	facts: Facts;
	schedules: Schedules;
	weights: Weights;
	/** Pictures at once. */
	slots: number;
	/** Features of texts; undefined where the model has no text encoder. */
	prompts: PromptFeatures | undefined;
	/** Token ids of the instructions. */
	instructions: readonly number[];
}

export interface Graph {
	readonly shape: GraphShape;
	readonly codes: Quantiser;
	readonly picture: DecoderSource;
	readonly names: TapNames;
	readonly startTokens: number;
	/** By slot and guidance row: input of scale 0, before the level embedding. [slots * 2 * startTokens, width] */
	readonly start: Tensor;
	/** Added to every token's embedding: row first + i * step of the table to token i. */
	readonly embedding: {
		table: Tensor;
		index(picture: PictureView, scale: number): { first: number; step: 0 | 1 };
	};
	/** Keys that cross attention needs, by guidance row. Throws RangeError for text of another size than the model's. */
	contextKeys(subject: Subject): readonly number[];
	/** Texts whose features `begin` reads: none where they are given. Absent: it draws no text. */
	texts?(subject: Subject): readonly (readonly number[])[];
	/** First rotary position of a scale; 0 where there is none. */
	ropeAt(picture: PictureView, scale: number): number;
	/** Hands over what does not depend on the pass. */
	opened(picture: PictureView): void;
	/** Conditioning of one picture, into the rows of its slot and its keys. */
	begin(pass: Pass, picture: PictureView, store: KeyStore): void;
	/** What a block is made of, in order, self attention first. Each adds to the residual stream. */
	readonly sublayers: readonly Sublayer[];
	/** x [tokens, width] -> logits [tokens, logits]. */
	head(pass: Pass, op: { x: Tensor; work: Pick<RoundWork, "block" | "logits">; rows: RowTable }): void;
	/**
	 * What the latent has beyond its codes, token by token of the last scale: [tokens, channels], until the next call.
	 */
	residual?(pass: Pass, op: ResidualInput): Tensor;
	/** What `residual` reads of given draws, for so many guidance rows and tokens: their names, and floats of each. */
	residualDraws?(rows: number, tokens: number): readonly { name: string; length: number }[];
	/** Frees what the graph allocated. */
	destroy(): void;
}
