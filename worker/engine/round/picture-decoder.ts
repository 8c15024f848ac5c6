import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import type { Graph } from "../../families/family.ts";
import { ConvDecoder, type Piece } from "../../families/shared/conv-decoder.ts";
import type { DecoderStore, LatentGrid } from "../../families/shared/decoder-size.ts";
import { channelsFirst, type Taps } from "../../families/shared/taps.ts";
import type { Rect } from "../../families/shared/tiles.ts";
import { padRows, type Weights } from "../../families/shared/weights.ts";
import type { RgbImage } from "./rgb-image.ts";
import type { Planned } from "./room.ts";

/** A latent to look at: where it lies, and the grid of cells it is decoded at. */
interface DecodeRequest {
	from: ImageShape;
	grid: readonly [height: number, width: number];
	taps: Taps;
	/** Reference name of the latent as it is decoded; null where nobody asks. */
	latentName: string | null;
	/** The picture, and what the decoder computes on its way, are for the taps. */
	finished: boolean;
}

/** From latents to pictures, as many at once as the decoder takes. */
export class PictureDecoder implements Disposable {
	#gpu: Gpu;
	#graph: Graph;
	#cells: number;
	#decoder: ConvDecoder;
	/** [cells, channels]: latents at the sizes they are decoded at. */
	#resized: Tensor;
	#owned: Scope;

	/** `grids`: of the largest latents. `stored`: what the decoder keeps between layers. */
	constructor(gpu: Gpu, weights: Weights, graph: Graph, grids: readonly LatentGrid[], stored?: DecoderStore) {
		using made = new Scope(gpu);
		this.#gpu = gpu;
		this.#graph = graph;
		this.#cells = Math.max(...grids.map(area));
		this.#resized = made.tensor("resized latents", [this.#cells, graph.codes.channels]);
		this.#decoder = new ConvDecoder(gpu, weights, graph.picture, graph.codes, grids, stored);
		this.#owned = made.move();
	}

	/**
	 * One picture for each of `wanted`, in order. All is submitted when this returns, and whatever goes wrong with a
	 * picture rejects those alone that are decoded together with it.
	 */
	decode(latents: Tensor, wanted: readonly DecodeRequest[]): Promise<RgbImage>[] {
		const groups: DecodeRequest[][] = [];
		for (const picture of wanted) {
			const group = groups[groups.length - 1];
			const room =
				group &&
				group.length < this.#decoder.size.pictures &&
				group.reduce((sum, { grid }) => sum + area(grid), area(picture.grid)) <= this.#decoder.size.cells;
			if (room) group.push(picture);
			else groups.push([picture]);
		}
		return groups.flatMap((group) => {
			const pictures = this.#decode(latents, group);
			return group.map(async (_, i) => (await pictures)[i]);
		});
	}

	/** The picture of a latent [height * width, numbers] given from outside. Throws RangeError when it is too large. */
	async decodeGiven(
		latent: Float32Array<ArrayBuffer>,
		grid: readonly [height: number, width: number],
		taps: Taps,
	): Promise<RgbImage> {
		const { numbers, channels } = this.#graph.codes;
		const [height, width] = grid;
		if (latent.length !== height * width * numbers)
			throw new RangeError(
				`A latent of ${height}x${width} has ${height * width * numbers} floats, not ${latent.length}.`,
			);
		if (height * width > this.#cells)
			throw new RangeError(
				`A latent of ${height}x${width} is larger than the model's largest, which has ${this.#cells} cells.`,
			);
		using made = new Scope(this.#gpu);
		const tensor = made.upload("latent", [height * width, channels], padRows(latent, numbers));
		const request = { from: { pixel: 0, height, width }, grid, taps, latentName: null, finished: true };
		return await this.decode(tensor, [request])[0];
	}

	/** What reading pictures of full size back takes for a while. */
	get readBack(): Planned {
		return { label: "pictures read back", shape: [this.#cells * this.#decoder.patch ** 2], long: true };
	}

	async #decode(latents: Tensor, group: readonly DecodeRequest[]): Promise<RgbImage[]> {
		const { channels, numbers, shrink } = this.#graph.codes;
		const { patch } = this.#decoder;
		const begun = this.#gpu.pass(`pictures of ${group.map(({ grid }) => grid.join("x")).join(", ")}`);
		let cell = 0;
		const images = group.map(({ grid }) => ({
			pixel: (cell += area(grid)) - area(grid),
			height: grid[0],
			width: grid[1],
		}));
		resize(begun, {
			x: latents,
			y: this.#resized,
			how: shrink,
			channels,
			from: group.map(({ from }) => from),
			to: images,
			label: "picture latents",
		});
		const { pass, pictures } = this.#decoder.record(begun, this.#resized, images, (pass, name, i, pieces, own) => {
			const { finished, taps, grid } = group[i];
			if (finished) keepPieces(pass, taps, name, pieces, own, grid);
		});
		group.forEach(({ taps, latentName, finished }, i) => {
			const { pixel, height, width } = images[i];
			if (latentName !== null)
				taps.keep(pass, latentName, this.#resized, [channels, height, width], {
					from: pixel * channels,
					view: channelsFirst(numbers, channels),
					shape: [numbers, height, width],
				});
			const sides = [height * patch, width * patch] as const;
			if (finished) keepPieces(pass, taps, "image", pictures[i].output, 3, sides, toUnit);
		});
		const pieces = pictures.flatMap(({ rgba }) => rgba);
		const data = await pass.submit(pieces.map(({ rect, x, from }) => part(x, from, area([rect.height, rect.width]))));
		let next = 0;
		return pictures.map(({ rgba }, i) => {
			const parts = rgba.map(({ rect }) => ({ rect, data: new Uint32Array(data[next++]) }));
			const [height, width] = [images[i].height * patch, images[i].width * patch];
			return { width, height, data: dropAlpha(raster(parts, width, 1, new Uint32Array(height * width))) };
		});
	}

	[Symbol.dispose](): void {
		this.#decoder.destroy();
		this.#owned[Symbol.dispose]();
	}
}

const area = ([height, width]: readonly [number, number]) => height * width;

/** Words of a tensor, to be read back. */
const part = (x: Tensor, from: number, count: number): Tensor => ({
	...x,
	offset: x.offset + 4 * from,
	bytes: 4 * count,
});

/** An image that lies in pieces, its first `own` channels. */
function keepPieces(
	pass: Pass,
	taps: Taps,
	name: string,
	pieces: readonly Piece[],
	own: number,
	[height, width]: readonly [number, number],
	each: (value: number) => number = (value) => value,
): void {
	if (!taps.wants(name)) return;
	const [{ stride }] = pieces;
	const stretches = pieces.map(({ rect, x, from }) => ({ x, from, count: rect.height * rect.width * stride }));
	taps.keepAll(pass, name, stretches, {
		shape: [own, height, width],
		view: (data) => {
			let at = 0;
			const parts = pieces.map(({ rect }, i) => ({ rect, data: data.subarray(at, (at += stretches[i].count)) }));
			const whole = raster(parts, width, stride, new Float32Array(data.length));
			return channelsFirst(own, stride)(whole).map(each);
		},
	});
}

/** Rectangles into the image of this width that they are of, `stride` elements a pixel; a single one is all of it. */
function raster<T extends Float32Array | Uint32Array>(
	parts: readonly { rect: Rect; data: T }[],
	width: number,
	stride: number,
	into: T,
): T {
	if (parts.length === 1) return parts[0].data;
	for (const { rect, data } of parts) {
		const row = rect.width * stride;
		for (let i = 0; i < rect.height; i++)
			into.set(data.subarray(i * row, (i + 1) * row), ((rect.top + i) * width + rect.left) * stride);
	}
	return into;
}

/** From [-1, 1] to [0, 1]. */
const toUnit = (value: number): number => (Math.min(1, Math.max(-1, value)) + 1) / 2;

/** By words: four pixels become three of them, the first byte the lowest. A last word is cut. */
export function dropAlpha(pixels: Uint32Array): Uint8Array<ArrayBuffer> {
	const rgb = new Uint32Array(Math.ceil((pixels.length * 3) / 4));
	for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
		const second = pixels[from + 1];
		const third = pixels[from + 2];
		rgb[to] = (pixels[from] & 0xffffff) | (second << 24);
		rgb[to + 1] = ((second >>> 8) & 0xffff) | (third << 16);
		rgb[to + 2] = ((third >>> 16) & 0xff) | (pixels[from + 3] << 8);
	}
	return new Uint8Array(rgb.buffer, 0, pixels.length * 3);
}
