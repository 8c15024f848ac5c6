/** What a reduced span does to one part: few tokens in place of all, and all of them again. */
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import { copy, copyWords } from "../../../kernels/tokens/gather.ts";
import {
	drawPositions,
	drawProjection,
	farthestPositions,
	project,
	type ReduceRow,
} from "../../../kernels/tokens/project.ts";
import { gatherSelected, scatterRows } from "../../../kernels/tokens/selected.ts";
import type { Graph } from "../../families/family.ts";
import type { Gathering, Projection } from "../../protocol/plan.ts";
import { byScore, detailByToken } from "./detail.ts";
import { matricesName, positionsName, spanName } from "./draws.ts";
import type { Layout, Place } from "./layout.ts";
import type { Part } from "./parts.ts";
import type { RoundContext } from "./round.ts";
import { passesOthers, type Span, skipsOthers, sourceKey, sourceOf, sublayerAt } from "./spans.ts";

/** The span's input to few tokens a row, from token `to` of the next layout on, and the positions they stand for. */
export function reduce(context: RoundContext, layout: Layout, place: Place, span: Span, to: number): void {
	const { pass, graph, work } = context;
	const { rows, tokens, first } = place.part;
	const { width } = graph.shape;
	const { reduction } = span;
	if (passesOthers(span))
		copy(pass, {
			x: layout.x,
			from: place.at * width,
			y: work.full,
			to: first * width,
			count: rows.length * tokens * width,
			label: "pass by",
		});
	if (reduction.write === "kept") gatherTokens(context, layout, place, span, reduction, to);
	else projectTokens(context, layout, place, span, reduction, to);
}

/** Mixtures of all tokens; positions drawn (StageVAR, arXiv 2512.16483). */
function projectTokens(
	{ pass, graph, work }: RoundContext,
	{ x, other }: Layout,
	{ part, at }: Place,
	span: Span,
	{ count }: Projection,
	to: number,
): void {
	const { picture, scale, tokens, first } = part;
	const { width } = graph.shape;
	const rows = part.rows.length;
	const name = spanName(graph, scale, span);
	const [Q, positions] = [matricesName(name), positionsName(name)].map((drawn) => picture.drawn.get(drawn));
	const matrixRows = reducedRows(graph, part, span, at, to, (i) => i * tokens * count);
	picture.taps.keep(pass, `${name}.${graph.names.spanInput}`, x, [rows, tokens, width], { from: at * width });
	picture.taps.keep(pass, `${name}.prob`, work.norms, [at + rows * tokens], {
		view: (norms) => shares(norms.subarray(at), tokens),
		shape: [rows, tokens],
	});
	if (!Q) drawProjection(pass, { matrices: work.matrices, rows: matrixRows, label: `${name} Q` });
	project(pass, { x, matrices: Q ?? work.matrices, y: other, width, rows: matrixRows, label: `${name} project` });
	picture.taps.keep(pass, `${name}.proj`, other, [rows, count, width], { from: to * width });
	const label = `${name} positions`;
	if (positions) copyWords(pass, { x: positions, y: work.positions, to: first, count: rows * count, label });
	else
		drawPositions(pass, {
			norms: work.norms,
			keys: work.sortKeys,
			positions: work.positions,
			rows: reducedRows(graph, part, span, at, to, (i) => first + i * count),
			label,
		});
}

/** The tokens that the score puts first. */
function gatherTokens(
	{ pass, graph, work }: RoundContext,
	{ x, other }: Layout,
	{ part, at }: Place,
	span: Span,
	{ count, take }: Gathering,
	to: number,
): void {
	const { picture, scale, first } = part;
	const { width } = graph.shape;
	const { block, name } = sublayerAt(graph, span.from);
	const rows = reducedRows(graph, part, span, at, to, (i) => first + i * count);
	const { positions } = work;
	const label = `block ${block} ${name} selected`;
	if (typeof take.gather === "string") {
		const from = take.gather === "mean-distance" ? "mean" : "neighbours";
		farthestPositions(pass, { x, from, means: work.means, keys: work.sortKeys, positions, width, rows, label });
	} else {
		const detail = picture.details.get(take.gather.picture);
		if (!detail) throw new Error(`The picture after scale ${take.gather.picture} was not looked at.`);
		const selected = byScore(detailByToken(detail, picture.grids[scale])).slice(0, count);
		const table = pass.table(part.rows.flatMap(() => selected));
		copyWords(pass, { x: table, y: positions, to: first, count: part.rows.length * count, label });
	}
	const asNumbers = (words: Float32Array) =>
		Float32Array.from(new Uint32Array(words.buffer, words.byteOffset, words.length).subarray(first));
	picture.taps.keep(pass, `s${scale}.blk${block}.keep_${name}`, positions, [first + part.rows.length * count], {
		view: asNumbers,
		shape: [part.rows.length, count],
	});
	gatherSelected(pass, { x, positions, y: other, width, rows, label: `block ${block} ${name} gather` });
}

/** The full length again, from token `to` of the next layout on: filled as the span says, its outputs over that. */
export function restore(context: RoundContext, { x, other }: Layout, place: Place, span: Span, to: number): void {
	const { pass, graph, work } = context;
	const { part, at } = place;
	const { tokens, first } = part;
	const { width } = graph.shape;
	const label = `blocks to ${span.to / graph.sublayers.length}`;
	if (passesOthers(span))
		copy(pass, {
			x: work.full,
			from: first * width,
			y: other,
			to: to * width,
			count: part.rows.length * tokens * width,
			label: `${label} passed by`,
		});
	fillFromEarlier(context, other, part, span, to, label);
	const { count } = span.reduction;
	scatterRows(pass, {
		x,
		positions: work.positions,
		y: other,
		width,
		rows: reducedRows(graph, part, span, to, at, (i) => first + i * count),
		label: `${label} write`,
	});
}

/** What an earlier scale retained, resized to this one's grid: in place of its tokens, or added to them. */
function fillFromEarlier(
	{ pass, graph }: RoundContext,
	y: Tensor,
	{ picture, scale, tokens, rows }: Part,
	span: Span,
	to: number,
	label: string,
): void {
	const source = sourceOf(span);
	const { rest } = span.reduction;
	if (!source || typeof rest === "string") return;
	const retained = picture.retained.get(sourceKey(source));
	if (!retained) throw new Error(`Scale ${source.scale} retained nothing for ${label}.`);
	const image = (index: number, pixel: number) => {
		const [height, width] = picture.grids[index];
		return { pixel, height, width };
	};
	resize(pass, {
		x: retained.tensor,
		y,
		how: rest.resize,
		channels: graph.shape.width,
		add: rest.of === "change",
		from: rows.map((row) => image(source.scale, retained.rows.indexOf(row) * picture.codes[source.scale])),
		to: rows.map((_, i) => image(scale, to + i * tokens)),
		label: `${label} rest`,
	});
}

/** `token`: the part's first token at full length, `out`: reduced; `draw`: where a row's own draws begin. */
export function reducedRows(
	graph: Graph,
	{ picture, scale, tokens, rows }: Part,
	{ from, reduction: { count } }: Span,
	token: number,
	out: number,
	draw: (row: number) => number,
): ReduceRow[] {
	const { block } = sublayerAt(graph, from);
	return rows.map((row, i) => ({
		token: token + i * tokens,
		tokens,
		out: out + i * count,
		count,
		draw: draw(i),
		seed: picture.seed,
		scale,
		stream: block * 2 + row,
		columns: picture.grids[scale][1],
	}));
}

/**
 * For the places that leave tokens out of their scale: which are selected. Both guidance rows have the same: their
 * inputs to the first block are. `token` and `out`: the part's first token among all, and among those selected.
 */
export function selectedRows(
	graph: Graph,
	places: readonly Place[],
	token: (part: Part) => number,
	out: (part: Part) => number,
): ReduceRow[] {
	return places.flatMap(({ part, span }) =>
		span && skipsOthers(span)
			? reducedRows(graph, part, span, token(part), out(part), () => part.first).slice(0, 1)
			: [],
	);
}

/** Each row's norms as shares of their sum. */
function shares(norms: Float32Array, tokens: number): Float32Array {
	const out = new Float32Array(norms.length);
	for (let row = 0; row < norms.length; row += tokens) {
		const total = norms.subarray(row, row + tokens).reduce((sum, value) => sum + value, 0);
		for (let i = row; i < row + tokens; i++) out[i] = norms[i] / total;
	}
	return out;
}
