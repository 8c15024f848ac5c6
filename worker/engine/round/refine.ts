import { resize } from "../../../kernels/image/interpolate.ts";
import { clearOthers, scatterRows } from "../../../kernels/tokens/selected.ts";
import type { Layout, Place } from "./layout.ts";
import { reducedRows, selectedRows } from "./reduce.ts";
import type { RoundContext } from "./round.ts";
import { skipsOthers } from "./spans.ts";

/** Adds what is no code, where the family has such a thing, once the last scale's codes are in the latent. */
export function refine(context: RoundContext, layout: Layout): void {
	for (const place of layout.places)
		if (place.part.scale === place.part.picture.grids.length - 1) refinePlace(context, layout, place);
}

function refinePlace({ pass, graph, work, latents }: RoundContext, layout: Layout, place: Place): void {
	if (!graph.residual) return;
	const { part, at, length, span } = place;
	const { picture, step, cell, rows, tokens, first } = part;
	const { channels } = graph.codes;
	const reduced = span && skipsOthers(span) ? span : undefined;
	// Tokens are refined one by one: what stands for those left out is of no matter, and of no effect.
	if (reduced)
		scatterRows(pass, {
			x: layout.x,
			positions: work.positions,
			y: layout.other,
			width: graph.shape.width,
			rows: reducedRows(graph, part, reduced, 0, at, (i) => first + i * length),
			label: "full length",
		});
	const residual = graph.residual(pass, {
		x: reduced ? layout.other : layout.x,
		at: reduced ? 0 : at,
		work,
		picture,
		guidance: step.guidance,
		cell,
		rows: rows.length,
		tokens,
	});
	const selected = selectedRows(
		graph,
		[place],
		() => 0,
		() => 0,
	);
	if (selected.length > 0)
		clearOthers(pass, {
			x: residual,
			positions: work.positions,
			words: channels,
			rows: selected,
			label: "leave others",
		});
	const latent = latents.of(picture);
	resize(pass, {
		x: residual,
		y: latents.tensor,
		how: "nearest",
		channels,
		add: true,
		from: [{ ...latent, pixel: 0 }],
		to: [latent],
		label: "add residual",
	});
}
