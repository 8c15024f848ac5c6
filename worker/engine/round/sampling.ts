import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { seekTemperature } from "../../../kernels/sample/temperature.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import { rowTable } from "../../../kernels/tokens/rows.ts";
import { spreadSelected } from "../../../kernels/tokens/selected.ts";
import { firstColumns } from "../../families/shared/taps.ts";
import { codeWords } from "../../protocol/codes.ts";
import { COND, UNCOND } from "./kv-plan.ts";
import { cellTokens, type Layout, type Place, rowsIn } from "./layout.ts";
import { cellsIn } from "./parts.ts";
import { selectedRows } from "./reduce.ts";
import type { RoundContext } from "./round.ts";
import { skipsOthers } from "./spans.ts";

/** Head, guidance and sampling of the parts that ask for it: into `work.codes`, where the parts say. */
export function sampleCodes(context: RoundContext, layout: Layout): void {
	const { pass, graph, work } = context;
	const sampled = layout.places.filter(({ part }) => part.request.sample);
	if (sampled.length === 0) return;
	const { x, places } = onCells(context, { ...layout, places: sampled });
	// Codes of selected tokens alone go beyond all others, and are spread over their grid from there.
	const spare = 2 * cellsIn(layout.places.map(({ part }) => part));
	const outOf = ({ part, span }: Place) => (skipsOthers(span) ? spare + part.cell : part.sampledAt);
	const { codes, names } = graph;
	graph.head(pass, { x, work, rows: rowTable(pass, rowsIn(places)) });
	const rows = places.map((place) => {
		const { part, at, length } = place;
		const { guidance, tau, topK, topP } = part.step;
		return {
			cond: at + Math.max(0, part.rows.indexOf(COND)) * length,
			uncond: at + Math.max(0, part.rows.indexOf(UNCOND)) * length,
			tokens: length,
			out: outOf(place),
			guidance,
			topK,
			topP,
			seed: part.picture.seed,
			scale: part.scale,
			...(typeof tau === "number" ? { tau } : { tau: tau.between[0], temperature: tau }),
		};
	});
	const taus = rows.some((row) => "temperature" in row) ? work.taus : undefined;
	if (taus)
		seekTemperature(pass, {
			logits: work.logits,
			taus,
			choices: codes.choices,
			values: codes.alternatives,
			stride: codes.logits,
			rows,
			label: "temperatures",
		});
	codes.sample(pass, { logits: work.logits, mixed: work.mixed, codes: work.codes, taus, rows });
	const own = codes.choices * codes.alternatives;
	for (const place of places) {
		const { part, at, length } = place;
		const { taps } = part.picture;
		const keep = (name: string, x: Tensor, rows: number, first: number) =>
			taps.keep(pass, `s${part.scale}.${name}`, x, [rows, length, codes.logits], {
				from: first * codes.logits,
				view: firstColumns(own, codes.logits),
				shape: [rows, length, own],
			});
		keep(names.logits, work.logits, part.rows.length, at);
		keep(names.mixed, work.mixed, 1, outOf(place));
	}
	const selected = places.flatMap((place) =>
		selectedRows(
			graph,
			[place],
			({ sampledAt }) => sampledAt,
			() => outOf(place),
		),
	);
	if (selected.length > 0)
		spreadSelected(pass, {
			x: work.codes,
			positions: work.positions,
			words: codeWords(codes.bits),
			rows: selected,
			label: "spread codes",
		});
}

/**
 * The tokens that stand for cells, laid out by themselves: all tokens but where a text comes before the first cell.
 */
function onCells({ pass, graph, work }: RoundContext, layout: Layout): Pick<Layout, "x" | "places"> {
	const { places } = layout;
	if (places.every(({ part, length }) => length <= part.codes)) return layout;
	const index = places.flatMap((place) =>
		cellTokens(place).flatMap(({ token, tokens }) => Array.from({ length: tokens }, (_, i) => token + i)),
	);
	const x = work.block.attended;
	gatherRows(pass, {
		x: layout.x,
		index: pass.table(index),
		y: x,
		count: index.length,
		width: graph.shape.width,
		label: "tokens of cells",
	});
	let to = 0;
	const onlyCells = places.map((place): Place => {
		const at = to;
		const length = Math.min(place.length, place.part.codes);
		to += place.part.rows.length * length;
		return { ...place, at, length };
	});
	return { x, places: onlyCells };
}
