/** Between sublayers: reduced spans end and begin, the batch is laid out anew, and what later scales need is copied. */
import { copy, subtractFrom } from "../../../kernels/tokens/gather.ts";
import { squaredNorms } from "../../../kernels/tokens/project.ts";
import { cellTokens, type Layout, type Place, tokensIn } from "./layout.ts";
import { reduce, restore } from "./reduce.ts";
import type { RoundContext } from "./round.ts";
import { type Span, skipsOthers, sublayerAt } from "./spans.ts";

/** A place that gets other tokens: how many a row, in which span, and what writes them from token `to` on. */
interface Change {
	length: number;
	span: Span | undefined;
	fill(to: number): void;
}

/** Ends and begins the spans at a boundary of sublayers, and retains what later scales restore from. */
export function crossBoundary(context: RoundContext, layout: Layout, boundary: number): Layout {
	const ended = endSpans(context, layout, boundary);
	for (const place of ended.places) if (!place.span) retain(context, ended, place, boundary);
	return beginSpans(context, ended, boundary);
}

/** Ends the spans at a boundary, or only those around a single sublayer. */
export function endSpans(context: RoundContext, layout: Layout, boundary: number, only?: "sublayer"): Layout {
	// Where tokens are left out, the scale ends as short as it is.
	const ends = (span: Span | undefined): span is Span =>
		span?.to === boundary && !skipsOthers(span) && (!only || span.reduction.each === only);
	return changed(context, layout, (place) => {
		const { part, span } = place;
		if (!ends(span)) return;
		return { length: part.tokens, span: undefined, fill: (to) => restore(context, layout, place, span, to) };
	});
}

function beginSpans(context: RoundContext, layout: Layout, boundary: number): Layout {
	const { pass, work, graph } = context;
	const beginning = (place: Place) => place.part.spans.find(({ from }) => from === boundary);
	if (layout.places.some((place) => beginning(place)?.reduction.write === "norm-sampled"))
		squaredNorms(pass, {
			x: layout.x,
			norms: work.norms,
			tokens: tokensIn(layout.places),
			width: graph.shape.width,
			label: "squared norms",
		});
	return changed(context, layout, (place) => {
		const span = beginning(place);
		return span && { length: span.reduction.count, span, fill: (to) => reduce(context, layout, place, span, to) };
	});
}

/** The layout with some places changed and the others moved up to them; the same one where none is. */
function changed(
	{ pass, graph }: RoundContext,
	layout: Layout,
	changeOf: (place: Place) => Change | undefined,
): Layout {
	const { x, other, places } = layout;
	const { width } = graph.shape;
	const changes = places.map(changeOf);
	if (changes.every((change) => change === undefined)) return layout;
	let to = 0;
	const moved = places.map((place, i): Place => {
		const { part, at, length } = place;
		const change = changes[i];
		if (change) change.fill(to);
		else
			copy(pass, {
				x,
				from: at * width,
				y: other,
				to: to * width,
				count: part.rows.length * length * width,
				label: "move",
			});
		const next = { part, at: to, length: change?.length ?? length, span: change ? change.span : place.span };
		to += part.rows.length * next.length;
		return next;
	});
	return { x: other, other: x, places: moved };
}

/** Copies what later scales fill from, a place's residual stream or its change since an earlier boundary. */
function retain({ pass, graph }: RoundContext, { x }: Layout, place: Place, boundary: number): void {
	const { width } = graph.shape;
	const { picture, scale, rows, codes } = place.part;
	for (const retained of picture.retained.values()) {
		const { from, to, tensor } = retained;
		if (retained.scale !== scale) continue;
		retained.rows = rows;
		const stretches = cellTokens(place).map(({ token, tokens }, row) => ({
			x,
			from: token * width,
			y: tensor,
			to: row * tokens * width,
			count: tokens * width,
		}));
		if (boundary === to && from !== undefined) {
			for (const stretch of stretches) subtractFrom(pass, { ...stretch, label: "retain change" });
			const { block, name } = sublayerAt(graph, from);
			picture.taps.keep(pass, `cache.blk${block}.${name}`, tensor, [rows.length, codes, width]);
		} else if (boundary === (from ?? to)) for (const stretch of stretches) copy(pass, { ...stretch, label: "retain" });
	}
}
