/** Reduced spans: where one begins or ends, the flat batch is laid out anew, and what does not change is copied. */

import type { Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import { copy, copyWords, subtractFrom } from "../../../kernels/tokens/gather.ts";
import {
	drawPositions,
	drawProjection,
	farthestPositions,
	project,
	type ReduceRow,
	squaredNorms,
} from "../../../kernels/tokens/project.ts";
import { gatherSelected, scatterRows } from "../../../kernels/tokens/selected.ts";
import type { Graph } from "../../families/family.ts";
import type { Gathering, Projection, Reduction, RunStep } from "../../protocol/plan.ts";
import { cellTokens, type Part, tokensIn } from "./batch.ts";
import { byScore, detailByToken } from "./detail.ts";
import type { Workspace } from "./workspace.ts";

/**
 * A stretch of sublayers, counted from the first block's first on, that runs on few tokens: what reductions come down
 * to.
 */
export interface Span {
	from: number;
	to: number;
	reduction: Reduction;
}

/** The spans of a step, in order. `sublayers`: of a block. */
export function spansOf({ reduce }: RunStep, sublayers: number): Span[] {
	return reduce.flatMap((reduction) => {
		const [first, end] = reduction.blocks.map((block) => block * sublayers);
		const length = { span: end - first, block: sublayers, sublayer: 1 }[reduction.each];
		return Array.from({ length: (end - first) / length }, (_, i) => ({
			from: first + i * length,
			to: first + (i + 1) * length,
			reduction,
		}));
	});
}

/**
 * What an executed scale leaves for later ones to fill from: the residual stream at `to`, or its change since `from`.
 * [rows * codes, width]
 */
export interface Retained {
	scale: number;
	from: number | undefined;
	to: number;
	tensor: Tensor;
	/** Guidance rows it has, once it is there. */
	rows: number[];
}

export type Source = Pick<Retained, "scale" | "from" | "to">;

/** What a span needs of an earlier scale. */
export function sourceOf({ from, to, reduction: { rest } }: Span): Source | undefined {
	return typeof rest === "string" ? undefined : { scale: rest.from, from: rest.of === "change" ? from : undefined, to };
}
export const retainedKey = ({ scale, from, to }: Source): string => [scale, from, to].join(":");

/** Leaves the tokens that are not kept out of the scale. */
export const skipsOthers = (span: Span | undefined): boolean => span?.reduction.rest === "skip";

/**
 * Ends and begins the spans at a boundary of sublayers, and keeps what later scales restore from. Says whether the
 * layout changed.
 */
export function crossBoundary(
	pass: Pass,
	graph: Graph,
	work: Workspace,
	parts: readonly Part[],
	boundary: number,
): boolean {
	const { width } = graph.shape;
	const ended = endSpans(pass, graph, work, parts, boundary);
	for (const part of parts) {
		const { job, scale, rows, codes, span } = part;
		for (const kept of span ? [] : job.retained.values()) {
			const { from, to, tensor } = kept;
			if (kept.scale !== scale) continue;
			kept.rows = rows;
			const stretches = cellTokens(part).map(({ token, tokens }, row) => ({
				x: work.x[0],
				from: token * width,
				y: tensor,
				to: row * tokens * width,
				count: tokens * width,
			}));
			if (boundary === to && from !== undefined) {
				for (const stretch of stretches) subtractFrom(pass, { ...stretch, label: "retain change" });
				const { block, name } = sublayerAt(graph, from);
				job.taps.keep(pass, `cache.blk${block}.${name}`, tensor, [rows.length, codes, width]);
			} else if (boundary === (from ?? to))
				for (const stretch of stretches) copy(pass, { ...stretch, label: "retain" });
		}
	}
	const starting = parts.flatMap((part) =>
		part.spans.filter(({ from }) => from === boundary).map((span) => ({ part, span })),
	);
	if (starting.some(({ span }) => span.reduction.write === "norm-sampled"))
		squaredNorms(pass, { x: work.x[0], norms: work.norms, tokens: tokensIn(parts), width, label: "squared norms" });
	relayout(
		pass,
		graph,
		work,
		parts,
		new Map(
			starting.map(({ part, span }) => [
				part,
				{ length: span.reduction.count, fill: (to: number) => reduce(pass, graph, work, part, span, to) },
			]),
		),
	);
	for (const { part, span } of starting) part.span = span;
	return ended || starting.length > 0;
}

/** Ends the spans at a boundary, or only those around a single sublayer. Says whether the layout changed. */
export function endSpans(
	pass: Pass,
	graph: Graph,
	work: Workspace,
	parts: readonly Part[],
	boundary: number,
	only?: "sublayer",
): boolean {
	// Where tokens are left out, the scale ends as short as it is.
	const ending = parts.filter(
		({ span }) => span?.to === boundary && !skipsOthers(span) && (!only || span.reduction.each === only),
	);
	relayout(
		pass,
		graph,
		work,
		parts,
		new Map(
			ending.map((part) => [part, { length: part.tokens, fill: (to: number) => restore(pass, graph, work, part, to) }]),
		),
	);
	for (const part of ending) part.span = undefined;
	return ending.length > 0;
}

/** Moves every part to its place in a batch where the `changes` have other lengths and are filled anew. */
function relayout(
	pass: Pass,
	{ shape: { width } }: Graph,
	work: Workspace,
	parts: readonly Part[],
	changes: ReadonlyMap<Part, { length: number; fill(to: number): void }>,
): void {
	if (changes.size === 0) return;
	let to = 0;
	const places = parts.map((part) => {
		const change = changes.get(part);
		if (change) change.fill(to);
		else
			copy(pass, {
				x: work.x[0],
				from: part.at * width,
				y: work.x[1],
				to: to * width,
				count: part.rows.length * part.length * width,
				label: "move",
			});
		const place = { at: to, length: change?.length ?? part.length };
		to += part.rows.length * place.length;
		return place;
	});
	parts.forEach((part, i) => Object.assign(part, places[i]));
	work.x.reverse();
}

/** The span's input to few tokens a row, and the positions their outputs will be written to. */
function reduce(pass: Pass, graph: Graph, work: Workspace, part: Part, span: Span, to: number): void {
	const { rows, tokens, at, pick } = part;
	const { width } = graph.shape;
	if (passesBy(span.reduction.rest))
		copy(pass, {
			x: work.x[0],
			from: at * width,
			y: work.full,
			to: pick * width,
			count: rows.length * tokens * width,
			label: "pass by",
		});
	if (span.reduction.write === "kept") gather(pass, graph, work, part, span, span.reduction, to);
	else mix(pass, graph, work, part, span, span.reduction, to);
}

/** Mixtures of all tokens; positions drawn. */
function mix(
	pass: Pass,
	graph: Graph,
	work: Workspace,
	part: Part,
	span: Span,
	{ count }: Projection,
	to: number,
): void {
	const { job, scale, tokens, at } = part;
	const { width } = graph.shape;
	const rows = part.rows.length;
	const name = `s${scale}.${graph.names.span(sublayerAt(graph, span.from).block)}`;
	const [Q, positions] = [job.drawn.get(`${name}.Q`), job.drawn.get(`${name}.rep_idx`)];
	const matrixRows = reduceRows(graph, part, span, at, to, (i) => i * tokens * count);
	job.taps.keep(pass, `${name}.${graph.names.spanInput}`, work.x[0], [rows, tokens, width], { from: at * width });
	job.taps.keep(pass, `${name}.prob`, work.norms, [at + rows * tokens], {
		view: (norms) => shares(norms.subarray(at), tokens),
		shape: [rows, tokens],
	});
	if (!Q) drawProjection(pass, { matrices: work.matrices, rows: matrixRows, label: `${name} Q` });
	project(pass, {
		x: work.x[0],
		matrices: Q ?? work.matrices,
		y: work.x[1],
		width,
		rows: matrixRows,
		label: `${name} project`,
	});
	job.taps.keep(pass, `${name}.proj`, work.x[1], [rows, count, width], { from: to * width });
	if (positions)
		copyWords(pass, {
			x: positions,
			y: work.positions,
			to: part.pick,
			count: rows * count,
			label: `${name} positions`,
		});
	else
		drawPositions(pass, {
			norms: work.norms,
			keys: work.race,
			positions: work.positions,
			rows: reduceRows(graph, part, span, at, to, (i) => part.pick + i * count),
			label: `${name} positions`,
		});
}

/** The tokens that the score puts first. */
function gather(
	pass: Pass,
	graph: Graph,
	work: Workspace,
	part: Part,
	span: Span,
	{ count, take }: Gathering,
	to: number,
): void {
	const { job, scale, at, pick } = part;
	const { width } = graph.shape;
	const { block, name } = sublayerAt(graph, span.from);
	const rows = reduceRows(graph, part, span, at, to, (i) => pick + i * count);
	const label = `block ${block} ${name} kept`;
	if (typeof take.gather === "string") {
		const from = take.gather === "mean-distance" ? "mean" : "neighbours";
		farthestPositions(pass, {
			x: work.x[0],
			from,
			means: work.means,
			keys: work.race,
			positions: work.positions,
			width,
			rows,
			label,
		});
	} else {
		const detail = job.details.get(take.gather.picture);
		if (!detail) throw new Error(`The picture after scale ${take.gather.picture} was not looked at.`);
		const kept = byScore(detailByToken(detail, job.grids[scale])).slice(0, count);
		copyWords(pass, {
			x: pass.table(part.rows.flatMap(() => kept)),
			y: work.positions,
			to: pick,
			count: part.rows.length * count,
			label,
		});
	}
	const asNumbers = (positions: Float32Array) =>
		Float32Array.from(new Uint32Array(positions.buffer, positions.byteOffset, positions.length).subarray(pick));
	job.taps.keep(pass, `s${scale}.blk${block}.keep_${name}`, work.positions, [pick + part.rows.length * count], {
		view: asNumbers,
		shape: [part.rows.length, count],
	});
	gatherSelected(pass, {
		x: work.x[0],
		positions: work.positions,
		y: work.x[1],
		width,
		rows,
		label: `block ${block} ${name} gather`,
	});
}

/** The full length again: filled as the span says, the kept tokens written over it. */
function restore(pass: Pass, graph: Graph, work: Workspace, part: Part, to: number): void {
	const { job, scale, tokens, pick } = part;
	const { width } = graph.shape;
	const span = part.span as Span;
	const { count, rest } = span.reduction;
	const label = `blocks to ${span.to / graph.sublayers.length}`;
	if (passesBy(rest))
		copy(pass, {
			x: work.full,
			from: pick * width,
			y: work.x[1],
			to: to * width,
			count: part.rows.length * tokens * width,
			label: `${label} passed by`,
		});
	const source = sourceOf(span);
	if (source && typeof rest !== "string") {
		const kept = job.retained.get(retainedKey(source));
		if (!kept) throw new Error(`Scale ${source.scale} kept nothing for ${label}.`);
		const image = (index: number, pixel: number) => ({
			pixel,
			height: job.grids[index][0],
			width: job.grids[index][1],
		});
		resize(pass, {
			x: kept.tensor,
			y: work.x[1],
			how: rest.resize,
			channels: width,
			add: rest.of === "change",
			from: part.rows.map((row) => image(source.scale, kept.rows.indexOf(row) * job.codes[source.scale])),
			to: part.rows.map((_, i) => image(scale, to + i * tokens)),
			label: `${label} rest`,
		});
	}
	scatterRows(pass, {
		x: work.x[0],
		positions: work.positions,
		y: work.x[1],
		width,
		rows: reduceRows(graph, part, span, to, part.at, (i) => pick + i * count),
		label: `${label} write`,
	});
}

/** The other tokens keep their own residual stream. */
const passesBy = (rest: Reduction["rest"]) => rest === "residual" || (typeof rest !== "string" && rest.of === "change");

export function sublayerAt({ sublayers }: Graph, at: number): { block: number; name: string } {
	return { block: Math.floor(at / sublayers.length), name: sublayers[at % sublayers.length].name };
}

/** `token`: the part's first token at full length, `out`: reduced; `draw`: where a row's own draws begin. */
export function reduceRows(
	graph: Graph,
	{ job, scale, tokens, rows }: Part,
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
		seed: job.seed,
		scale,
		stream: block * 2 + row,
		columns: job.grids[scale][1],
	}));
}

/**
 * Where the parts that leave tokens out keep which. Both guidance rows keep the same: their inputs to the first block
 * are.
 */
export function keptRows(
	graph: Graph,
	parts: readonly Part[],
	token: (part: Part) => number,
	out: (part: Part) => number,
): ReduceRow[] {
	return parts.flatMap((part) =>
		part.span && skipsOthers(part.span)
			? reduceRows(graph, part, part.span, token(part), out(part), () => part.pick).slice(0, 1)
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
