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
	const count = parts.reduce((sum, { rows, tokens }) => sum + rows.length * tokens, 0);
	const [index, added] = [new Uint32Array(count), new Uint32Array(count)];
	let token = 0;
	for (const { picture, scale, cell, tokens, rows } of parts) {
		const { first, step } = embedding.index(picture, scale);
		for (const row of rows)
			for (let i = 0; i < tokens; i++, token++) {
				index[token] = cell + (scale === 0 ? row * tokens : 0) + i;
				added[token] = first + i * step;
			}
	}
	gatherRows(pass, {
		x: work.embedded,
		index: pass.table(index),
		y: work.x,
		count,
		width,
		extra: { table: embedding.table, index: pass.table(added) },
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
