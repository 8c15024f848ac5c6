import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { normaliseHeads } from "../../../kernels/norm/head-norm.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import type { GraphInput, KeyStore, PictureView, Subject } from "../family.ts";
import { startRows } from "../shared/ada-ln.ts";
import { COND, ROWS, UNCOND } from "../shared/guidance.ts";
import type { Weights } from "../shared/weights.ts";
import type { ClipTextConfig } from "../text/config.ts";
import type { PromptFeatures } from "../text/prompt-features.ts";
import type { StarConfig } from "./config.ts";

interface Text {
	config: StarConfig;
	weights: Weights;
	/** One picture's text: features, keys and values of a block, pooled text, its projection. */
	work: { text: Tensor; keys: Tensor; pooled: Tensor; projected: Tensor };
	prompts: PromptFeatures | undefined;
	start: Tensor;
}

/** What the text gives every scale: the start, and cross-attention keys and values of every block. */
export function starText(
	scope: Scope,
	{ config, weights, prompts }: GraphInput<StarConfig>,
	start: Tensor,
): (pass: Pass, picture: PictureView, store: KeyStore) => void {
	const { width, textChannels, textMaxTokens, textEncoder } = config;
	const text: Text = {
		config,
		weights,
		work: {
			text: scope.long("text", [ROWS * textMaxTokens, textChannels]),
			keys: scope.long("text keys", [ROWS * textMaxTokens, 2 * width]),
			pooled: scope.tensor("pooled text", [ROWS, textChannels]),
			projected: scope.tensor("projected text", [ROWS, width]),
		},
		prompts,
		start,
	};
	return (pass, picture, store) => {
		if (textEncoder && text.prompts && !picture.drawn.has("text.feats"))
			encode(pass, text, text.prompts, textEncoder, picture);
		else takeGiven(pass, text, picture);
		startOf(pass, text, picture);
		if (config.crossAttention === false) return;
		for (let block = 0; block < config.depth; block++) keysOf(pass, text, picture, store, block);
	};
}

/** The prompt and the empty one; none where their features are given. */
export const textsOf = ({ textEncoder }: StarConfig, { ids, draws }: Subject): (readonly number[])[] =>
	textEncoder && !draws.has("text.feats") ? [ids, emptyText(textEncoder)] : [];

/**
 * Tokens of the prompt and of the empty one, or those that a given mask leaves. Throws RangeError for features or
 * tokens of another size than the model's.
 */
export function textKeys(config: StarConfig, subject: Subject): number[] {
	checkText(config, subject);
	if (config.crossAttention === false) return [0, 0];
	const texts = textsOf(config, subject);
	return (texts.length > 0 ? texts : maskOf(subject.draws)).map(({ length }) => length);
}

function checkText({ textChannels, textMaxTokens, textEncoder }: StarConfig, { ids, draws }: Subject): void {
	const [features, mask, pooled] = ["text.feats", "text.mask", "text.pool"].map((name) => draws.get(name)?.length);
	const most = Math.min(textMaxTokens, textEncoder?.maxTokens ?? Infinity);
	if (features === undefined && ids.length > most)
		throw new RangeError(`The text has ${ids.length} tokens; this model takes ${most}.`);
	if (features !== undefined && (mask === undefined || pooled === undefined))
		throw new RangeError("Text features (text.feats) come with their text.mask and with the pooled text, text.pool.");
	if (mask !== undefined && (mask % ROWS !== 0 || mask > ROWS * textMaxTokens || features !== mask * textChannels))
		throw new RangeError(
			`The text features are ${features ?? 0} floats with a mask of ${mask} tokens; this model takes up to ` +
				`${textMaxTokens} tokens of ${textChannels} by guidance row.`,
		);
	if (pooled !== undefined && pooled !== ROWS * textChannels)
		throw new RangeError(`The pooled text is ${pooled} floats; this model takes ${ROWS} vectors of ${textChannels}.`);
}

/** Prompt, then empty prompt, to `text`; the token at the end of each to `pooled`. */
function encode(
	pass: Pass,
	{ config: { textChannels }, work: { text, pooled } }: Text,
	prompts: PromptFeatures,
	encoder: ClipTextConfig,
	{ ids, taps }: PictureView,
): void {
	let to = 0;
	for (const [row, own] of [ids, emptyText(encoder)].entries()) {
		const from = prompts.record(pass, own);
		const x = prompts.tensor;
		const stretch = { from: from * textChannels, to: to * textChannels, count: own.length * textChannels };
		copy(pass, { x, y: text, ...stretch, label: "prompt features" });
		const index = pass.table([from + Math.max(0, own.indexOf(encoder.endId))]);
		gatherRows(pass, { x, index, y: pooled, to: row, count: 1, width: textChannels, label: "pooled text" });
		to += own.length;
	}
	taps.keep(pass, "text.feats", text, [to, textChannels]);
	taps.keep(pass, "text.pool", pooled, [ROWS, textChannels]);
}

/** The same from `draws`. Masked tokens are left out: a score of -inf weighs nothing. */
function takeGiven(
	pass: Pass,
	{ config: { textChannels }, work: { text, pooled } }: Text,
	{ drawn, draws }: PictureView,
): void {
	const pool = drawn.get("text.pool");
	if (pool) copy(pass, { x: pool, y: pooled, count: ROWS * textChannels, label: "pooled text" });
	const x = drawn.get("text.feats");
	if (!x) return;
	const tokens = x.shape[0] / textChannels / ROWS;
	const places = maskOf(draws).flatMap((kept, row) => kept.map((token) => row * tokens + token));
	const index = pass.table(places);
	gatherRows(pass, { x, index, y: text, count: places.length, width: textChannels, label: "text features" });
}

function startOf(pass: Pass, { config, weights, work, start }: Text, { slot, taps }: PictureView): void {
	const { width, textChannels } = config;
	const { pooled, projected } = work;
	const projection = weights.linear("transformer.encoder_proj");
	const sides = { m: ROWS, k: textChannels, n: width };
	matmul(pass, { x: pooled, y: projected, ...projection, ...sides, label: "encoder_proj" });
	taps.keep(pass, "text.sos", projected, [ROWS, width]);
	const positions = weights.get("transformer.pos_start");
	startRows(pass, projected, slot, { startTokens: config.startTokens ?? 1, width, positions, start });
}

function keysOf(
	pass: Pass,
	{ config, weights, work }: Text,
	{ context }: PictureView,
	store: KeyStore,
	block: number,
): void {
	const { width, heads, textChannels } = config;
	const { text, keys } = work;
	const tokens = context.counts[COND] + context.counts[UNCOND];
	const name = `transformer.blocks.${block}.cross_attn`;
	const sides = { m: tokens, k: textChannels, n: 2 * width };
	matmul(pass, { x: text, y: keys, ...weights.linear(`${name}.mat_kv`), ...sides, label: `${name}.mat_kv` });
	const stride = 2 * width;
	if (config.normalised !== false)
		normaliseHeads(pass, { x: keys, stride, tokens, heads, headDim: width / heads, label: `${name} keys` });
	store.put(pass, { x: keys, block, key: context.keys[block], count: tokens, label: `${name} text` });
}

/** The empty prompt, which the unconditional row sees. */
const emptyText = ({ startId, endId }: ClipTextConfig): readonly number[] => [startId, endId];

/** Places of the tokens that the mask [2, tokens] leaves, by guidance row; none without a mask. */
function maskOf(draws: Subject["draws"]): number[][] {
	const mask = draws.get("text.mask") ?? new Int32Array(0);
	const tokens = mask.length / ROWS;
	return [COND, UNCOND].map((row) =>
		Array.from({ length: tokens }, (_, token) => token).filter((token) => mask[row * tokens + token] !== 0),
	);
}
