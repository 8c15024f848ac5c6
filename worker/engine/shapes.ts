import type { Shapes } from "../../kernels/tune.ts";
import type { Facts } from "../families/family.ts";
import type { Schedule } from "../protocol/model-info.ts";

/**
 * The shapes of the heavy operators in one picture of `rows` guidance rows: what kernels are tuned and measured at.
 * Largest first.
 */
export function kernelShapes({ shape, codes, decoder, refinerWidth }: Facts, { grids }: Schedule, rows = 2): Shapes {
	const { width, heads, ffn } = shape;
	const shapes: Shapes = { matmul: [], conv: [], attention: [] };
	let keys = grids.reduce((sum, [height, w]) => sum + height * w, 0);
	for (const [height, w] of [...grids].reverse()) {
		const tokens = height * w;
		const m = rows * tokens;
		shapes.matmul.push(
			{ m, k: width, n: 3 * width },
			{ m, k: width, n: width },
			{ m, k: width, n: ffn },
			{ m, k: ffn, n: width },
			{ m, k: width, n: codes.logits },
		);
		shapes.attention.push({ rows, tokens, keys, heads, headDim: width / heads });
		keys -= tokens;
	}
	const [height, w] = grids[grids.length - 1].map((side) => side * codes.patch);
	if (refinerWidth !== undefined) {
		const [m, k] = [rows * height * w, refinerWidth];
		shapes.matmul.unshift({ m, k, n: 3 * k }, { m, k, n: k });
	}
	const { baseChannels, multipliers } = decoder.config;
	const channels = multipliers.map((multiplier) => multiplier * baseChannels);
	channels.forEach((outChannels, level) => {
		const scale = 2 ** (channels.length - 1 - level);
		const image = { height: height * scale, width: w * scale };
		shapes.conv.push({ ...image, inChannels: outChannels, outChannels });
		if (level + 1 < channels.length)
			shapes.conv.push(
				{ ...image, inChannels: channels[level + 1], outChannels },
				{ ...image, inChannels: channels[level + 1], outChannels: channels[level + 1], upsample: true },
			);
	});
	shapes.conv.push({
		height: height * 2 ** (channels.length - 1),
		width: w * 2 ** (channels.length - 1),
		inChannels: channels[0],
		outChannels: 4,
	});
	return shapes;
}
