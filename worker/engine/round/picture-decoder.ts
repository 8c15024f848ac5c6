import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import type { Graph } from "../../families/family.ts";
import { ConvDecoder, MAX_PICTURES } from "../../families/shared/conv-decoder.ts";
import { channelsFirst, type Taps } from "../../families/shared/taps.ts";
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

/** From latents to pictures, as many at once as one of full size takes room. */
export class PictureDecoder implements Disposable {
	#gpu: Gpu;
	#graph: Graph;
	#cells: number;
	#decoder: ConvDecoder;
	/** [cells, channels]: latents at the sizes they are decoded at. */
	#resized: Tensor;
	#owned: Scope;

	constructor(gpu: Gpu, weights: Weights, graph: Graph, cells: number) {
		using made = new Scope(gpu);
		this.#gpu = gpu;
		this.#graph = graph;
		this.#cells = cells;
		this.#resized = made.tensor("resized latents", [cells, graph.codes.channels]);
		this.#decoder = new ConvDecoder(gpu, weights, graph.picture, graph.codes, cells);
		this.#owned = made.move();
	}

	/** One picture for each of `wanted`, in order. */
	async decode(latents: Tensor, wanted: readonly DecodeRequest[]): Promise<RgbImage[]> {
		const groups: DecodeRequest[][] = [];
		for (const picture of wanted) {
			const group = groups[groups.length - 1];
			const room =
				group &&
				group.length < MAX_PICTURES &&
				group.reduce((sum, { grid }) => sum + area(grid), area(picture.grid)) <= this.#cells;
			if (room) group.push(picture);
			else groups.push([picture]);
		}
		return (await Promise.all(groups.map((group) => this.#decode(latents, group)))).flat();
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
		return (await this.decode(tensor, [request]))[0];
	}

	/** What reading pictures of full size back takes for a while. */
	get readBack(): Planned {
		return { label: "pictures read back", shape: this.#decoder.rgba.shape };
	}

	async #decode(latents: Tensor, group: readonly DecodeRequest[]): Promise<RgbImage[]> {
		const { channels, numbers, shrink } = this.#graph.codes;
		const { patch, rgba, output } = this.#decoder;
		const pass = this.#gpu.pass(`pictures of ${group.map(({ grid }) => grid.join("x")).join(", ")}`);
		let cell = 0;
		const images = group.map(({ grid }) => ({
			pixel: (cell += area(grid)) - area(grid),
			height: grid[0],
			width: grid[1],
		}));
		resize(pass, {
			x: latents,
			y: this.#resized,
			how: shrink,
			channels,
			from: group.map(({ from }) => from),
			to: images,
			label: "picture latents",
		});
		const keep = (i: number, name: string, x: Tensor, own: number, stride: number) => {
			const { pixel, height, width } = images[i];
			group[i].taps.keep(pass, name, x, [stride, height, width], {
				from: pixel * stride,
				view: channelsFirst(own, stride),
				shape: [own, height, width],
			});
		};
		this.#decoder.record(pass, this.#resized, images, (name, x, own, stride) =>
			group.forEach(({ finished }, i) => {
				if (finished) keep(i, name, x, own, stride);
			}),
		);
		group.forEach(({ taps, latentName, finished }, i) => {
			const { pixel, height, width } = images[i];
			if (latentName !== null) keep(i, latentName, this.#resized, numbers, channels);
			const [h, w] = [height * patch, width * patch];
			if (finished)
				taps.keep(pass, "image", output, [4, h, w], { from: pixel * patch ** 2 * 4, view: unitRgb, shape: [3, h, w] });
		});
		const [data] = await pass.submit([{ ...rgba, bytes: cell * patch ** 2 * 4 }]);
		return images.map(({ pixel, height, width }) => {
			const pixels = new Uint32Array(data, pixel * patch ** 2 * 4, height * width * patch ** 2);
			return { width: width * patch, height: height * patch, data: dropAlpha(pixels) };
		});
	}

	[Symbol.dispose](): void {
		this.#decoder.destroy();
		this.#owned[Symbol.dispose]();
	}
}

const area = ([height, width]: readonly [number, number]) => height * width;

/** [pixels, 4] in [-1, 1] to [3, pixels] in [0, 1]. */
function unitRgb(data: Float32Array): Float32Array {
	const pixels = data.length / 4;
	const out = new Float32Array(3 * pixels);
	for (let p = 0; p < pixels; p++)
		for (let c = 0; c < 3; c++) out[c * pixels + p] = (Math.min(1, Math.max(-1, data[p * 4 + c])) + 1) / 2;
	return out;
}

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
