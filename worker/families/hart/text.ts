import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { poolRows } from "../../../kernels/image/pool.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import type { GraphInput, PictureView, Subject } from "../family.ts";
import type { ConditionTables } from "../shared/ada-ln.ts";
import { condOf, ROWS } from "../shared/guidance.ts";
import type { Weights } from "../shared/weights.ts";
import type { Qwen2Config } from "../text/config.ts";
import type { PromptFeatures } from "../text/prompt-features.ts";
import { PADDING } from "../text/transformer.ts";
import type { HartConfig } from "./config.ts";

interface Text {
	config: HartConfig;
	weights: Weights;
	/** Of one picture; features of both rows, those of the unconditional one zero. */
	work: Record<"features" | "normed" | "embedded" | "pooled" | "activated" | "mapped" | "vectors", Tensor>;
	prompts: PromptFeatures | undefined;
	/** Token ids that the encoder reads before every prompt. */
	instructions: readonly number[];
	tables: ConditionTables;
}

/** What the text gives every scale: all of its tokens as the start, modulations of every block and the head. */
export function hartText(
	scope: Scope,
	{ config, weights, prompts, instructions }: GraphInput<HartConfig>,
	tables: ConditionTables,
): (pass: Pass, picture: PictureView) => void {
	const { width, textChannels, textMaxTokens } = config;
	const rows = ROWS * textMaxTokens;
	const text: Text = {
		config,
		weights,
		work: {
			features: scope.long("text features", [rows, textChannels]),
			normed: scope.long("context_norm", [rows, textChannels]),
			embedded: scope.long("context_embed", [rows, width]),
			pooled: scope.tensor("pooled text", [ROWS, width]),
			activated: scope.tensor("silu pooled text", [ROWS, width]),
			mapped: scope.tensor("block ada_lin", [maps(config) ? ROWS : 0, 6 * width]),
			vectors: scope.tensor("head ada_lin", [ROWS, 2 * width]),
		},
		prompts,
		instructions,
		tables,
	};
	return (pass, picture) => {
		features(pass, text, picture);
		embed(pass, text, picture);
		modulateBlocks(pass, text, picture);
		modulateHead(pass, text, picture);
	};
}

const maps = ({ modulation }: HartConfig) => modulation === "map-mean" || modulation === "map-max";

/** Given, or encoded behind the instructions. */
function features(pass: Pass, { config, work, prompts, instructions }: Text, { ids, drawn, taps }: PictureView): void {
	const { textChannels, textMaxTokens } = config;
	const count = textMaxTokens * textChannels;
	const given = drawn.get("text.feats");
	if (given) copy(pass, { x: given, y: work.features, count, label: "given features" });
	else if (prompts) {
		const first = prompts.record(pass, instructed(instructions, config, ids)) + instructions.length;
		copy(pass, { x: prompts.tensor, from: first * textChannels, y: work.features, count, label: "prompt features" });
		taps.keep(pass, "text.feats", work.features, [textMaxTokens, textChannels]);
	}
}

/** The tokens of both rows, which are the first scale's input. */
function embed(pass: Pass, { config, weights, work, tables }: Text, { slot, taps }: PictureView): void {
	const { width, textChannels, textMaxTokens: tokens, normEps: eps } = config;
	const m = ROWS * tokens;
	const x = config.contextNorm === false ? work.features : work.normed;
	if (x === work.normed) {
		const weight = weights.get("transformer.context_norm.weight");
		const rows = { weight, tokens: m, width: textChannels, eps };
		rmsNorm(pass, { x: work.features, y: work.normed, ...rows, label: "context_norm" });
	}
	const embedding = weights.linear("transformer.context_embed");
	const sides = { m, k: textChannels, n: width };
	matmul(pass, { x, y: work.embedded, ...embedding, ...sides, label: "context_embed" });
	taps.keep(pass, "context.embed", work.embedded, [ROWS, tokens, width]);
	const to = condOf(slot, 0) * tokens * width;
	copy(pass, { x: work.embedded, y: tables.start, to, count: m * width, label: "start" });
}

/** What modulates the blocks, of the pooled text. */
function modulateBlocks(pass: Pass, text: Text, picture: PictureView): void {
	const { modulation } = text.config;
	if (modulation === "none") return;
	if (maps(text.config)) mapBlocks(pass, text, picture);
	else tabulateBlocks(pass, text, picture);
}

/** pooled = the mean of the tokens that are text, of the unconditional row its first token alone. */
function poolMean(pass: Pass, { config, work }: Text, picture: PictureView): void {
	const { width, textMaxTokens: tokens } = config;
	const valid = maskOf(config, picture).flatMap((kept, token) => (kept ? [token] : []));
	const of = [valid, [tokens]];
	poolRows(pass, { x: work.embedded, y: work.pooled, how: "mean", width, of, label: "mean text" });
}

/** pooled = the greatest of all tokens, padding included. */
function poolMax(pass: Pass, { config, work }: Text): void {
	const { width, textMaxTokens: tokens } = config;
	const all = Array.from({ length: tokens }, (_, token) => token);
	const of = [all, all.map((token) => tokens + token)];
	poolRows(pass, { x: work.embedded, y: work.pooled, how: "max", width, of, label: "greatest text" });
}

/** Every block's own map of the pooled text. */
function mapBlocks(pass: Pass, text: Text, picture: PictureView): void {
	const { config, weights, work, tables } = text;
	const { width, depth } = config;
	if (config.modulation === "map-mean") poolMean(pass, text, picture);
	else poolMax(pass, text);
	silu(pass, { x: work.pooled, y: work.activated, count: ROWS * width, label: "silu text" });
	const sides = { m: ROWS, k: width, n: 6 * width };
	const count = ROWS * 6 * width;
	const to = condOf(picture.slot, 0) * 6 * width;
	for (let block = 0; block < depth; block++) {
		const name = `blocks.${block}.ada_lin.1`;
		const map = weights.linear(`transformer.${name}`);
		matmul(pass, { x: work.activated, y: work.mapped, ...map, ...sides, label: name });
		copy(pass, { x: work.mapped, y: tables.modulation[block], to, count, label: `block ${block} modulation` });
	}
}

/** Every block's table and the mean token. */
function tabulateBlocks(pass: Pass, text: Text, picture: PictureView): void {
	const { config, weights, work, tables } = text;
	const { width, depth } = config;
	const { pooled } = work;
	poolMean(pass, text, picture);
	const index = pass.table([0, 1].flatMap((row) => Array<number>(6).fill(row)));
	const own = pass.table([0, 1].flatMap(() => [0, 1, 2, 3, 4, 5]));
	const rows = { index, to: 6 * condOf(picture.slot, 0), count: 6 * ROWS };
	for (let block = 0; block < depth; block++) {
		const extra = { table: weights.get(`transformer.blocks.${block}.scale_shift_table`), index: own };
		const y = tables.modulation[block];
		gatherRows(pass, { x: pooled, y, ...rows, width, extra, label: `block ${block} modulation` });
	}
}

/** The greatest of all tokens, padding included, through a linear map. */
function modulateHead(pass: Pass, text: Text, { slot }: PictureView): void {
	const { config, weights, work, tables } = text;
	const { width } = config;
	const { pooled, activated, vectors } = work;
	poolMax(pass, text);
	silu(pass, { x: pooled, y: activated, count: ROWS * width, label: "silu text" });
	const name = "head_nm.ada_lin.1";
	const sides = { m: ROWS, k: width, n: 2 * width };
	matmul(pass, { x: activated, y: vectors, ...weights.linear(`transformer.${name}`), ...sides, label: name });
	const count = ROWS * 2 * width;
	copy(pass, { x: vectors, y: tables.head, to: condOf(slot, 0) * 2 * width, count, label: "head modulation" });
}

/** Throws RangeError for features or tokens of another size than the model's. */
export function checkText({ textMaxTokens, textChannels }: HartConfig, { ids, draws }: Subject): void {
	const [features, mask] = [draws.get("text.feats")?.length, draws.get("text.mask")?.length];
	if (features !== undefined && (features !== textMaxTokens * textChannels || mask !== textMaxTokens))
		throw new RangeError(
			`The text features are ${features} floats with a mask of ${mask ?? 0} tokens; this model takes ` +
				`${textMaxTokens} tokens, padded, of ${textChannels}.`,
		);
	if (ids.length > textMaxTokens)
		throw new RangeError(`The text has ${ids.length} tokens; this model takes ${textMaxTokens}.`);
}

/** Whether each token of the text is one, or padding. Of given features without a mask all are. */
export function maskOf(config: HartConfig, { ids, draws }: Subject): boolean[] {
	const { textEncoder, textMaxTokens } = config;
	if (textEncoder && !draws.has("text.feats")) return padded(config, ids).map((id) => id !== PADDING);
	const mask = draws.get("text.mask");
	return Array.from({ length: textMaxTokens }, (_, token) => mask === undefined || mask[token] !== 0);
}

/** What the encoder reads; nothing where features are given. Throws RangeError for a text that is too long. */
export function textsOf({ config, instructions }: GraphInput<HartConfig>, subject: Subject): number[][] {
	checkText(config, subject);
	const { ids, draws } = subject;
	return config.textEncoder && !draws.has("text.feats") ? [instructed(instructions, config, ids)] : [];
}

const instructed = (instructions: readonly number[], config: HartConfig, ids: readonly number[]): number[] => [
	...instructions,
	...padded(config, ids),
];

/** The prompt's token ids and the padding beside them. */
function padded({ textEncoder, textMaxTokens }: HartConfig, ids: readonly number[]): number[] {
	const { padSide } = textEncoder as Qwen2Config;
	const padding = Array<number>(textMaxTokens - ids.length).fill(PADDING);
	return padSide === "left" ? [...padding, ...ids] : [...ids, ...padding];
}
