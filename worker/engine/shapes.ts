import type { Shapes } from "../../kernels/tune.ts";
import type { Manifest } from "../../model-shards/format/manifest.ts";
import type { Schedule } from "../protocol/model-info.ts";

/**
 * The shapes of the heavy operators in one picture of `rows` guidance rows: what kernels are tuned and measured at.
 * Largest first.
 */
export function kernelShapes(config: Manifest["config"], { grids }: Schedule, rows = 2): Shapes {
	const { width, heads, ffn, vae } = config;
	const patch = "bits" in config ? (config.patchify ?? 1) : 1;
	const logits = "bits" in config ? 2 * config.bits * patch ** 2 : config.codebook.vocabulary;
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
			{ m, k: width, n: logits },
		);
		shapes.attention.push({ rows, tokens, keys, heads, headDim: width / heads });
		keys -= tokens;
	}
	const [height, w] = grids[grids.length - 1].map((side) => side * patch);
	if ("residual" in config) {
		const { width: k } = config.residual;
		shapes.matmul.unshift({ m: rows * height * w, k, n: 3 * k }, { m: rows * height * w, k, n: k });
	}
	const channels = vae.multipliers.map((multiplier) => multiplier * vae.baseChannels);
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
