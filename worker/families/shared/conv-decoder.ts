import { pixelAttention } from "../../../kernels/attention/pixel-attention.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { crop } from "../../../kernels/image/crop.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import { packRgb } from "../../../kernels/tokens/gather.ts";
import type { CodeShape } from "../family.ts";
import { DecoderOps, pixelsOf } from "./decoder-ops.ts";
import { type DecoderSize, type DecoderStore, decoderSize, type LatentGrid, storedFor } from "./decoder-size.ts";
import { decodeTiles } from "./tiled-decoder.ts";
import { DeviceBuffers, type Rect, type Source } from "./tiles.ts";
import { type DecoderLayer, type DecoderSource, decoderLayers, pixelsPerCell } from "./vae.ts";
import type { Weights } from "./weights.ts";

/** A rectangle of an image, and where its pixels lie one after the other, `stride` elements each. */
export interface Piece {
	rect: Rect;
	x: Tensor;
	/** First element. */
	from: number;
	stride: number;
}

/** What the decoder computes on its way, for those who tap it: an image in pieces, `channels` of a stride count. */
export type DecoderTap = (pass: Pass, name: string, image: number, pieces: readonly Piece[], channels: number) => void;

/** A decoded picture: [pixels, 4] in [-1, 1] before clamping, channels r, g, b, 0; and u32 [pixels], RGBA. */
export interface Decoded {
	output: Piece[];
	rgba: Piece[];
}

/** Tensors that images are decoded whole in. */
interface Whole {
	work: readonly [Tensor, Tensor, Tensor];
	scores: Tensor;
	output: Tensor;
	rgba: Tensor;
}

/**
 * The decoder of a convolutional tokenizer: conv_in, two residual blocks, then levels from coarse to fine with nearest
 * x2 between them. Takes several latents of any height and width at once, as many as `size` says, or one that is larger
 * than that, which it decodes by tiles.
 */
export class ConvDecoder {
	readonly size: DecoderSize;
	/** Pixels per side of a latent's cell. */
	readonly patch: number;
	#gpu: Gpu;
	#ops: DecoderOps;
	#layers: readonly DecoderLayer[];
	#latent: Pick<CodeShape, "numbers" | "channels">;
	#whole: Whole;
	#buffers: readonly Tensor[];
	/** Of a batch of whole images, then of every norm by tiles. */
	#statistics: readonly Tensor[];
	#owned: Scope;
	#source: DecoderSource;
	/** Floats between layers, by grid. */
	#stored = new Map<string, number>();

	/** `grids`: of the largest latents. `store`: what it keeps between layers of larger pictures, at most. */
	constructor(
		gpu: Gpu,
		weights: Weights,
		source: DecoderSource,
		latent: Pick<CodeShape, "numbers" | "channels">,
		grids: readonly LatentGrid[],
		store?: DecoderStore,
	) {
		using scope = new Scope(gpu);
		this.size = decoderSize(source, latent.channels, grids, gpu.bindingBytes, store);
		this.patch = pixelsPerCell(source.config);
		this.#gpu = gpu;
		this.#ops = new DecoderOps(source, weights);
		this.#layers = decoderLayers(source, latent.channels);
		this.#latent = latent;
		this.#source = source;
		const { whole, tiled, statistics } = this.size;
		const make = (label: string, ...shape: number[]) => scope.tensor(`decoder ${label}`, shape);
		this.#buffers = Array.from({ length: tiled?.buffers ?? 0 }, (_, i) => make(`buffer ${i}`, tiled?.floats ?? 0));
		const [a, b, c, scores, output, rgba] = this.#buffers;
		this.#whole = whole
			? {
					work: [make("work 0", whole.work), make("work 1", whole.work), make("work 2", whole.work)],
					scores: make("scores", whole.scores),
					output: make("output", whole.pixels, 4),
					rgba: make("rgba", whole.pixels),
				}
			: { work: [a, b, c], scores, output, rgba };
		this.#statistics = statistics.map((floats) => make("statistics", floats));
		this.#owned = scope.move();
	}

	/**
	 * latents: [cells, channels], cut into `grids` -> a picture of each, every side `patch` times as long, until the next
	 * call. Goes on recording in the pass that it returns, which is `pass` but for large latents: some work of
	 * those it submits before, and tells `sent`.
	 */
	record(
		pass: Pass,
		latents: Tensor,
		grids: readonly ImageShape[],
		tap: DecoderTap = () => {},
		sent: () => void = () => {},
	): { pass: Pass; pictures: Decoded[] } {
		if (pixelsOf(grids) <= this.size.cells) return { pass, pictures: this.#recordWhole(pass, latents, grids, tap) };
		const [grid, ...more] = grids;
		const { tiled } = this.size;
		if (more.length > 0 || !tiled)
			throw new RangeError(`The decoder takes ${this.size.cells} cells, or one latent, at a time.`);
		const tiling = new DeviceBuffers(this.#gpu, this.#buffers, tiled, pass, sent);
		const picture = this.#recordTiles(tiling, latents, grid, tap);
		return { pass: tiling.pass, pictures: [picture] };
	}

	#recordTiles(tiling: DeviceBuffers, latents: Tensor, grid: ImageShape, tap: DecoderTap): Decoded {
		const { channels, numbers } = this.#latent;
		const tiles = decodeTiles(
			{
				tiling,
				ops: this.#ops,
				statistics: this.#statistics.slice(1),
				stored: this.#storedFor(grid),
				tap: ({ taps = [], name }, { tiles, channels: stride }) => {
					const pieces = tiles.map(({ rect, tensor }) => ({ rect, x: tensor, from: 0, stride }));
					const count = name === "vae.post_quant_conv" ? numbers : stride;
					tiling.record((pass) => {
						for (const tapped of taps) tap(pass, tapped, 0, pieces, count);
					});
				},
			},
			latentSource(latents, grid, channels),
			this.#layers,
		);
		return {
			output: tiles.map(({ rect, output }) => ({ rect, x: output, from: 0, stride: 4 })),
			rgba: tiles.map(({ rect, rgba }) => ({ rect, x: rgba, from: 0, stride: 1 })),
		};
	}

	/** Counted once a grid: a hundred milliseconds where buffers are small. */
	#storedFor({ height, width }: ImageShape): number {
		const { tiled } = this.size;
		if (!tiled) return 0;
		const key = `${height}x${width}`;
		const stored = this.#stored.get(key) ?? storedFor(this.#source, this.#latent.channels, [height, width], tiled);
		this.#stored.set(key, stored);
		return stored;
	}

	#recordWhole(pass: Pass, latents: Tensor, grids: readonly ImageShape[], tap: DecoderTap): Decoded[] {
		const { scores, output, rgba } = this.#whole;
		const [scratch] = this.#statistics;
		const ops = this.#ops;
		let images = grids;
		let [x, a, b] = this.#whole.work;
		let input = latents;
		const norm = (name: string, from: Tensor, to: Tensor, channels: number, plain = false) =>
			ops.norm(pass, name, { x: from, y: to, scratch, images, channels, plain });
		for (const { kind, name, from, to, side, taps = [] } of this.#layers) {
			switch (kind) {
				case "convolution":
					ops.convolution(pass, name, { x: input, y: b, images, from, to, side });
					[x, b] = [b, x];
					break;
				case "residual":
					norm(`${name}.norm1`, x, a, from);
					ops.convolution(pass, `${name}.conv1`, { x: a, y: b, images, from, to });
					norm(`${name}.norm2`, b, a, to);
					if (to !== from) {
						ops.convolution(pass, `${name}.nin_shortcut`, { x, y: b, images, from, to, side: 1 });
						[x, b] = [b, x];
					}
					ops.convolution(pass, `${name}.conv2`, { x: a, y: x, images, from: to, to, add: true });
					break;
				case "attention":
					norm(`${name}.norm`, x, a, from, true);
					ops.convolution(pass, `${name}.qkv`, { x: a, y: b, images, from, to: 3 * from, side: 1 });
					pixelAttention(pass, { qkv: b, y: a, scores, images, channels: from, label: name });
					ops.convolution(pass, `${name}.proj_out`, { x: a, y: x, images, from, to: from, side: 1, add: true });
					break;
				case "enlarge":
					images = images.map(({ pixel, height, width }) => ({
						pixel: 4 * pixel,
						height: 2 * height,
						width: 2 * width,
					}));
					ops.convolution(pass, name, { x, y: a, images, from, to, upsample: true });
					[x, a] = [a, x];
					break;
				case "finish":
					norm(`${name}norm_out`, x, a, from);
					ops.convolution(pass, `${name}conv_out`, { x: a, y: output, images, from, to: Math.ceil(to / 4) * 4 });
					packRgb(pass, { x: output, y: rgba, pixels: pixelsOf(images), channels: 4, label: "decoder pack" });
			}
			const count = name === "vae.post_quant_conv" ? this.#latent.numbers : to;
			for (const tapped of taps)
				for (const [i, image] of images.entries()) tap(pass, tapped, i, [pieceOf(image, x, to)], count);
			input = x;
		}
		return images.map((image) => ({ output: [pieceOf(image, output, 4)], rgba: [pieceOf(image, rgba, 1)] }));
	}

	destroy(): void {
		this.#owned[Symbol.dispose]();
	}
}

/** A whole image of a batch. */
const pieceOf = ({ pixel, height, width }: ImageShape, x: Tensor, stride: number): Piece => ({
	rect: { top: 0, left: 0, height, width },
	x,
	from: pixel * stride,
	stride,
});

/** One latent among others. */
const latentSource = (x: Tensor, { pixel, height, width }: ImageShape, channels: number): Source => ({
	height,
	width,
	channels,
	window: (height, width) => height * width * channels,
	fill: (tiling, rect, y) =>
		tiling.record((pass) =>
			crop(pass, {
				x,
				from: { pixel: pixel + rect.top * width + rect.left, stride: width },
				y,
				to: { pixel: 0, stride: rect.width },
				height: rect.height,
				width: rect.width,
				channels,
				label: "decoder latent",
			}),
		),
	needs: () => [],
});
