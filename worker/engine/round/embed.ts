import { resize } from "../../../kernels/image/interpolate.ts";
import { pixelUnshuffle } from "../../../kernels/image/pixel-shuffle.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { copy, gatherRows } from "../../../kernels/tokens/gather.ts";
import { channelsFirst, firstColumns } from "../../families/shared/taps.ts";
import { condOf, ROWS } from "./kv-plan.ts";
import { patchShuffle } from "./latents.ts";
import { fullLayout, type Layout } from "./layout.ts";
import { cellsIn, type Part } from "./parts.ts";
import type { RoundContext } from "./round.ts";

/**
 * x = the latent at the scale's size, embedded (the same for every guidance row), or the start tokens; plus the
 * embedding of level or position.
 */
export function embed(context: RoundContext, parts: readonly Part[]): Layout {
	const { pass, work, graph } = context;
	const {
		shape: { width },
		codes: { features, numbers, patch },
		names,
		start,
		embedding,
	} = graph;
	embedLatents(context, parts);
	for (const { picture, scale, cell, tokens } of parts) {
		if (scale === 0)
			copy(pass, {
				x: start,
				from: condOf(picture.slot, 0) * tokens * width,
				y: work.embedded,
				to: cell * width,
				count: ROWS * tokens * width,
				label: "start",
			});
		else {
			const map = names.map(scale);
			const own = numbers * patch ** 2;
			picture.taps.keep(pass, map.name, work.input, [1, tokens, features], {
				from: cell * features,
				view: map.channelsFirst ? channelsFirst(own, features) : firstColumns(own, features),
				shape: [1, tokens, own],
			});
		}
	}
	const index = parts.flatMap(({ scale, cell, tokens, rows }) =>
		rows.flatMap((row) => Array.from({ length: tokens }, (_, i) => cell + (scale === 0 ? row * tokens : 0) + i)),
	);
	const extra = {
		table: embedding.table,
		index: pass.table(parts.flatMap((part) => part.rows.flatMap(() => embedding.index(part.picture, part.scale)))),
	};
	gatherRows(pass, {
		x: work.embedded,
		index: pass.table(index),
		y: work.x,
		count: index.length,
		width,
		extra,
		label: "embedding",
	});
	return fullLayout(parts, work.x, work.other);
}

/** The latents of pictures beyond their first scale, brought to their scale's grid. */
function embedLatents({ pass, work, graph, weights, latents }: RoundContext, parts: readonly Part[]): void {
	const later = parts.filter(({ scale }) => scale > 0);
	if (later.length === 0) return;
	const { patch, channels, features, shrink } = graph.codes;
	resize(pass, {
		x: latents.tensor,
		y: patch === 1 ? work.input : work.values,
		how: shrink,
		channels,
		label: "scale input",
		from: later.map(({ picture }) => latents.of(picture)),
		to: later.map((part) => latents.map(part)),
	});
	if (patch > 1)
		pixelUnshuffle(pass, { x: work.values, y: work.input, ...patchShuffle(graph.codes, later), label: "patchify" });
	matmul(pass, {
		x: work.input,
		y: work.embedded,
		...weights.linear("transformer.word_embed"),
		m: cellsIn(parts),
		k: features,
		n: graph.shape.width,
		label: "word_embed",
	});
}
