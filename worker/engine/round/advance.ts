import { pixelShuffle } from "../../../kernels/image/pixel-shuffle.ts";
import { clearOthers } from "../../../kernels/tokens/selected.ts";
import { channelsFirst } from "../../families/shared/taps.ts";
import { codeWords, unpackCodes } from "../../protocol/codes.ts";
import { patchShuffle } from "./latents.ts";
import type { Layout } from "./layout.ts";
import { cellsIn } from "./parts.ts";
import { selectedRows } from "./reduce.ts";
import type { RoundContext } from "./round.ts";

/** Adds the codes of the scale, sampled or given, to the latents. */
export function advance({ gpu, pass, graph, work, latents }: RoundContext, { places }: Layout): void {
	const { codes, names } = graph;
	const parts = places.map(({ part }) => part);
	for (const { request, cell, codes: count } of parts) {
		const { forced } = request;
		// Written before the pass runs; sampled codes of such a request go elsewhere.
		if (forced) gpu.write(work.codes, cell * codeWords(codes.bits), unpackCodes(forced, count, codes.bits));
	}
	const values = codes.patch === 1 ? work.values : work.input;
	codes.values(pass, { codes: work.codes, values, tokens: cellsIn(parts) });
	const selected = selectedRows(
		graph,
		places,
		({ cell }) => cell,
		() => 0,
	);
	if (selected.length > 0)
		clearOthers(pass, {
			x: values,
			positions: work.positions,
			words: codes.features,
			rows: selected,
			label: "leave others",
		});
	if (codes.patch > 1)
		pixelShuffle(pass, { x: values, y: work.values, ...patchShuffle(codes, parts), label: "unpatchify" });
	codes.add(pass, {
		values: work.values,
		latents: latents.tensor,
		parts: parts.map((part) => ({
			scale: part.scale,
			scales: part.picture.grids.length,
			from: latents.map(part),
			to: latents.of(part.picture),
		})),
	});
	for (const { picture, scale } of parts) {
		const { pixel, height, width } = latents.of(picture);
		picture.taps.keep(pass, `s${scale}.${names.latent}`, latents.tensor, [codes.channels, height, width], {
			from: pixel * codes.channels,
			view: channelsFirst(codes.numbers, codes.channels),
			shape: [codes.numbers, height, width],
		});
	}
}
