import { attention } from "../../../kernels/attention/attention.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { rmsNorm } from "../../../kernels/norm/layer-norm.ts";
import { silu } from "../../../kernels/pointwise/activation.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import { type Row, rowTable } from "../../../kernels/tokens/rows.ts";
import type { GraphInput, KeyStore, PictureView, Subject } from "../family.ts";
import { type BothRows, bothRows, type ConditionTables } from "../shared/ada-ln.ts";
import { COND, ROWS, UNCOND } from "../shared/guidance.ts";
import type { Weights } from "../shared/weights.ts";
import type { PromptFeatures } from "../text/prompt-features.ts";
import type { InfinityConfig } from "./config.ts";
import { blockName } from "./tensors.ts";

interface TextWork {
	features: Tensor;
	normed: Tensor;
	poolKv: Tensor;
	query: Tensor;
	pooled: Tensor;
	sos: Tensor;
	hidden: Tensor;
	source: Tensor;
	activated: Tensor;
	shared: Tensor;
	head: Tensor;
	textKv: Tensor;
}

interface Text {
	config: InfinityConfig;
	weights: Weights;
	work: TextWork;
	prompts: PromptFeatures | undefined;
	tables: ConditionTables;
}

/**
 * What the text gives every scale, by slot and guidance row: start tokens, modulations, cross-attention keys and
 * values.
 */
export function infinityText(
	scope: Scope,
	{ config, weights, prompts }: GraphInput<InfinityConfig>,
	tables: ConditionTables,
): (pass: Pass, picture: PictureView, store: KeyStore) => void {
	const work = workspace(scope, config);
	const text: Text = { config, weights, work, prompts, tables };
	return (pass, picture, store) => {
		const tokens = picture.context.counts[COND];
		features(pass, text, picture, tokens);
		poolText(pass, text, picture, tokens);
		keySource(pass, text, picture, tokens);
		const both = bothRows(pass, picture.slot);
		condition(pass, text, picture, both);
		for (let block = 0; block < config.depth; block++) {
			modulate(pass, text, both, block);
			keys(pass, text, picture, store, block, tokens);
		}
	};
}

/** Tokens of the text. Throws RangeError for features or tokens of another size than the model's. */
export function textTokens(
	{ textChannels, textMaxTokens, textEncoder }: InfinityConfig,
	{ ids, draws }: Subject,
): number {
	const features = draws.get("text.feats")?.length;
	if (features !== undefined && (features % textChannels !== 0 || features > textMaxTokens * textChannels))
		throw new RangeError(
			`The text features are ${features} floats; this model takes up to ${textMaxTokens} tokens of ${textChannels}.`,
		);
	const most = Math.min(textMaxTokens, textEncoder?.maxTokens ?? Infinity);
	if (features === undefined && ids.length > most)
		throw new RangeError(`The text has ${ids.length} tokens; this model takes ${most}.`);
	return features === undefined ? ids.length : features / textChannels;
}

/** For one prompt; prompts of one pass use it in turn. */
function workspace(scope: Scope, { width, textChannels, textMaxTokens: most }: InfinityConfig): TextWork {
	const make = (label: string, rows: number, columns: number) => scope.long(label, [rows, columns]);
	// No two of a pair are needed at a time: features until they are normed, keys of the pool until it is pooled.
	const features = make("text features, kv hidden", ROWS * most, Math.max(textChannels, width));
	const kv = make("pool kv, text kv", ROWS * most, 2 * width);
	return {
		features,
		normed: make("text norm", ROWS * most, textChannels),
		poolKv: kv,
		query: make("pool query", ROWS, width),
		pooled: make("pooled", ROWS, width),
		sos: make("text sos", ROWS, width),
		hidden: features,
		source: make("text kv source", ROWS * most, width),
		activated: make("silu cond", ROWS, width),
		shared: make("shared_ada_lin", ROWS, 6 * width),
		head: make("head ada_lin", ROWS, 2 * width),
		textKv: kv,
	};
}

/** Floats of that workspace. */
export const textFloats = ({ width, textChannels, textMaxTokens }: InfinityConfig): number =>
	ROWS * (textMaxTokens * (Math.max(textChannels, width) + textChannels + 3 * width) + 12 * width);

function linear(
	pass: Pass,
	{ weights }: Text,
	name: string,
	x: Tensor,
	y: Tensor,
	m: number,
	k: number,
	n: number,
	gelu = false,
): void {
	matmul(pass, { x, y, ...weights.linear(`transformer.${name}`), m, k, n, gelu, label: name });
}

const official = ({ weights }: Text, name: string) => weights.get(`transformer.${name}`);

/** Features of both rows, given or encoded, and their norm. */
function features(pass: Pass, text: Text, { ids, drawn, taps }: PictureView, tokens: number): void {
	const { config, work, prompts } = text;
	const { textChannels, normEps: eps } = config;
	// Unconditional features are as many learned rows as the prompt has tokens, so both halves have equal length.
	const half = tokens * textChannels;
	const given = drawn.get("text.feats");
	if (given) copy(pass, { x: given, y: work.features, count: half, label: "given features" });
	else if (prompts) {
		const from = prompts.record(pass, ids) * textChannels;
		taps.keep(pass, "text.feats", prompts.tensor, [tokens, textChannels], { from });
		copy(pass, { x: prompts.tensor, from, y: work.features, count: half, label: "prompt features" });
	}
	copy(pass, { x: official(text, "cfg_uncond"), y: work.features, to: half, count: half, label: "cfg_uncond" });
	const weight = official(text, "text_norm.weight");
	const rows = { tokens: ROWS * tokens, width: textChannels, eps };
	rmsNorm(pass, { x: work.features, y: work.normed, weight, ...rows, label: "text_norm" });
	taps.keep(pass, "text.norm_out", work.normed, [ROWS * tokens, textChannels]);
}

/** Attentive pooling: one learned query a row over that row's own tokens. */
function poolText(pass: Pass, text: Text, { taps }: PictureView, tokens: number): void {
	const { width, textChannels, poolHeads: heads } = text.config;
	const { normed, poolKv, query, pooled, sos } = text.work;
	const headDim = width / heads;
	linear(pass, text, "text_proj_for_sos.ca.mat_kv", normed, poolKv, ROWS * tokens, textChannels, 2 * width);
	const learned = official(text, "text_proj_for_sos.ca.mat_q");
	gatherRows(pass, { x: learned, index: pass.table([0, 0]), y: query, count: ROWS, width, label: "pool query" });
	const rows = [COND, UNCOND].map(
		(cond): Row => ({ token: cond, tokens: 1, cond, rope: 0, key: cond * tokens, keys: tokens, append: 0 }),
	);
	attention(pass, {
		q: query,
		qStride: width,
		kv: { tensor: poolKv, stride: 2 * width, key: 0, value: width },
		y: pooled,
		heads,
		headDim,
		scale: headDim ** -0.5,
		rows: rowTable(pass, rows),
		label: "pool",
	});
	linear(pass, text, "text_proj_for_sos.ca.proj", pooled, sos, ROWS, width, width);
	taps.keep(pass, "text.sos", sos, [ROWS, width]);
}

/** What every block makes its text keys and values of. */
function keySource(pass: Pass, text: Text, { taps }: PictureView, tokens: number): void {
	const { width, textChannels } = text.config;
	const { normed, hidden, source } = text.work;
	linear(pass, text, "text_proj_for_ca.0", normed, hidden, ROWS * tokens, textChannels, width, true);
	linear(pass, text, "text_proj_for_ca.2", hidden, source, ROWS * tokens, width, width);
	taps.keep(pass, "text.kv_proj", source, [ROWS * tokens, width]);
}

/** Start tokens, the modulation that blocks share, and the head's. */
function condition(pass: Pass, text: Text, { taps }: PictureView, { rows, first }: BothRows): void {
	const { width, adaln, headNorm } = text.config;
	const { sos, activated, shared, head } = text.work;
	const extra = { table: official(text, "pos_start"), index: first };
	gatherRows(pass, { x: sos, y: text.tables.start, ...rows, width, extra, label: "pos_start" });
	silu(pass, { x: sos, y: activated, count: ROWS * width, label: "silu cond" });
	if (adaln !== "block") {
		linear(pass, text, "shared_ada_lin.1", activated, shared, ROWS, width, 6 * width);
		taps.keep(pass, "text.shared_gss", shared, [ROWS, 1, 6, width]);
	}
	if (headNorm === "own") return;
	linear(pass, text, "head_nm.ada_lin.1", activated, head, ROWS, width, 2 * width);
	gatherRows(pass, { x: head, y: text.tables.head, ...rows, width: 2 * width, label: "head modulation" });
}

function modulate(pass: Pass, text: Text, { rows, first }: BothRows, block: number): void {
	const { width } = text.config;
	const name = blockName(text.config, block);
	if (text.config.adaln === "block") {
		linear(pass, text, `${name}.ada_lin.1`, text.work.activated, text.work.shared, ROWS, width, 6 * width);
		const to = text.tables.modulation[block];
		gatherRows(pass, { x: text.work.shared, y: to, ...rows, width: 6 * width, label: `${name}.ada_lin` });
		return;
	}
	const label = `${name}.ada_gss`;
	const extra = { table: official(text, label), index: first };
	const y = text.tables.modulation[block];
	gatherRows(pass, { x: text.work.shared, y, ...rows, width: 6 * width, extra, label });
}

function keys(pass: Pass, text: Text, { context }: PictureView, store: KeyStore, block: number, tokens: number): void {
	const { width } = text.config;
	const { source, textKv } = text.work;
	const name = `${blockName(text.config, block)}.ca.mat_kv`;
	linear(pass, text, name, source, textKv, ROWS * tokens, width, 2 * width);
	store.put(pass, { x: textKv, block, key: context.keys[block], count: ROWS * tokens, label: `${name} text kv` });
}
