/** Reduced spans: where one begins or ends, the flat batch is laid out anew, and what does not change is copied. */
import { copy, copyWords } from "../../../kernels/gather.ts";
import type { Pass } from "../../../kernels/pass.ts";
import { resize } from "../../../kernels/interpolate.ts";
import { drawPositions, drawProjection, project, type ReduceRow, scatterRows, squaredNorms } from "../../../kernels/reduce.ts";
import type { Reduction } from "../../protocol/plan.ts";
import { type Part, tokensIn } from "./batch.ts";
import type { Graph } from "./graph.ts";
import { retainedKey } from "./job.ts";
import type { Workspace } from "./workspace.ts";

/** Ends and begins the spans at a block boundary, and keeps the outputs there that later scales restore from. */
export function crossBoundary(pass: Pass, graph: Graph, work: Workspace, parts: readonly Part[], boundary: number): void {
	const { width } = graph.shape;
	const ending = parts.filter(({ span }) => span?.blocks[1] === boundary);
	relayout(pass, graph, work, parts, new Map(ending.map((part) => [part, { length: part.tokens, fill: (to: number) => restore(pass, graph, work, part, to) }])));
	for (const part of ending) part.span = undefined;
	for (const { job, scale, at, rows, length, codes, span } of parts) {
		const kept = span ? undefined : job.retained.get(retainedKey(scale, boundary));
		if (kept) rows.forEach((_, i) => copy(pass, { x: work.x[0], from: (at + (i + 1) * length - codes) * width, y: kept.tensor, to: i * codes * width, count: codes * width, label: "retain" }));
	}
	const starting = parts.flatMap((part) => part.run.reduce.filter(({ blocks }) => blocks[0] === boundary).map((span) => ({ part, span })));
	if (starting.length > 0) squaredNorms(pass, { x: work.x[0], norms: work.norms, tokens: tokensIn(parts), width, label: "squared norms" });
	relayout(pass, graph, work, parts, new Map(starting.map(({ part, span }) => [part, { length: span.count, fill: (to: number) => reduce(pass, graph, work, part, span, to) }])));
	for (const { part, span } of starting) part.span = span;
}

/** Moves every part to its place in a batch where the `changes` have other lengths and are filled anew. */
function relayout(pass: Pass, { shape: { width } }: Graph, work: Workspace, parts: readonly Part[], changes: ReadonlyMap<Part, { length: number; fill(to: number): void }>): void {
	if (changes.size === 0) return;
	let to = 0;
	const places = parts.map((part) => {
		const change = changes.get(part);
		if (change) change.fill(to);
		else copy(pass, { x: work.x[0], from: part.at * width, y: work.x[1], to: to * width, count: part.rows.length * part.length * width, label: "move" });
		const place = { at: to, length: change?.length ?? part.length };
		to += part.rows.length * place.length;
		return place;
	});
	parts.forEach((part, i) => Object.assign(part, places[i]));
	work.x.reverse();
}

/** The span's input to `count` tokens a row, and the positions their outputs will be written to. */
function reduce(pass: Pass, { shape: { width }, names }: Graph, work: Workspace, part: Part, span: Reduction, to: number): void {
	const { job, scale, tokens, at } = part;
	const rows = part.rows.length;
	const name = `s${scale}.${names.span(span)}`;
	const [Q, positions] = [job.drawn.get(`${name}.Q`), job.drawn.get(`${name}.rep_idx`)];
	const matrixRows = reduceRows(part, span, at, to, (i) => i * tokens * span.count);
	job.taps.keep(pass, `${name}.${names.spanInput}`, work.x[0], [rows, tokens, width], { from: at * width });
	job.taps.keep(pass, `${name}.prob`, work.norms, [at + rows * tokens], { view: (norms) => shares(norms.subarray(at), tokens), shape: [rows, tokens] });
	if (!Q) drawProjection(pass, { matrices: work.matrices, rows: matrixRows, label: `${name} Q` });
	project(pass, { x: work.x[0], matrices: Q ?? work.matrices, y: work.x[1], width, rows: matrixRows, label: `${name} project` });
	job.taps.keep(pass, `${name}.proj`, work.x[1], [rows, span.count, width], { from: to * width });
	if (positions) copyWords(pass, { x: positions, y: work.positions, to: part.pick, count: rows * span.count, label: `${name} positions` });
	else drawPositions(pass, { norms: work.norms, keys: work.race, positions: work.positions, rows: reduceRows(part, span, at, to, (i) => part.pick + i * span.count), label: `${name} positions` });
}

/** Fills the full length from an earlier scale, then writes the kept tokens over it. */
function restore(pass: Pass, { shape: { width }, names }: Graph, work: Workspace, part: Part, to: number): void {
	const { job, scale, tokens } = part;
	const span = part.span as Reduction;
	const rest = job.retained.get(retainedKey(span.rest.from, span.blocks[1]));
	if (!rest) throw new Error(`Scale ${span.rest.from} kept nothing for blocks up to ${span.blocks[1]}.`);
	const name = `s${scale}.${names.span(span)}`;
	const image = (index: number, pixel: number) => ({ pixel, height: job.grids[index][0], width: job.grids[index][1] });
	resize(pass, {
		x: rest.tensor, y: work.x[1], how: span.rest.resize, channels: width,
		from: part.rows.map((row) => image(span.rest.from, rest.rows.indexOf(row) * job.codes[span.rest.from])),
		to: part.rows.map((_, i) => image(scale, to + i * tokens)),
		label: `${name} rest`,
	});
	const rows = reduceRows(part, span, to, part.at, (i) => part.pick + i * span.count);
	scatterRows(pass, { x: work.x[0], positions: work.positions, y: work.x[1], width, rows, label: `${name} write` });
}

/** `token`: the part's first token at full length, `out`: reduced; `draw`: where a row's own draws begin. */
function reduceRows({ job, scale, tokens, rows }: Part, span: Reduction, token: number, out: number, draw: (row: number) => number): ReduceRow[] {
	return rows.map((row, i) => ({
		token: token + i * tokens, tokens, out: out + i * span.count, count: span.count, draw: draw(i),
		seed: job.seed, scale, stream: span.blocks[0] * 2 + row,
	}));
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
