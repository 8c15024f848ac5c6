import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import type { Graph } from "../../families/family.ts";
import { ConvDecoder, MAX_PICTURES } from "../../families/shared/conv-decoder.ts";
import type { Weights } from "../../families/shared/weights.ts";
import { channelsFirst, type Taps } from "../tap.ts";
import type { RgbImage } from "../types.ts";

/** A latent to look at: where it lies, and the grid of cells it is decoded at. */
export interface Wanted {
	from: ImageShape;
	grid: readonly [height: number, width: number];
	taps: Taps;
	/** Reference name of the latent as it is decoded; null where nobody asks. */
	latentName: string | null;
	/** The picture, and what the decoder computes on its way, are for the taps. */
	finished: boolean;
}

/** From latents to pictures, as many at once as one of full size takes room. */
export class Pictures {
	#gpu: Gpu;
	#graph: Graph;
	#cells: number;
	#decoder: ConvDecoder;
	/** [cells, channels]: latents at the sizes they are decoded at. */
	#resized: Tensor;

	constructor(gpu: Gpu, weights: Weights, graph: Graph, cells: number) {
		this.#gpu = gpu;
		this.#graph = graph;
		this.#cells = cells;
		this.#decoder = new ConvDecoder(gpu, weights, graph.picture, graph.codes.channels, cells);
		this.#resized = gpu.tensor("resized latents", [cells, graph.codes.channels]);
	}

	/** One picture for each of `wanted`, in order. */
	async decode(latents: Tensor, wanted: readonly Wanted[]): Promise<RgbImage[]> {
		const groups: Wanted[][] = [];
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

	async #decode(latents: Tensor, group: readonly Wanted[]): Promise<RgbImage[]> {
		const { channels, shrink } = this.#graph.codes;
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
		this.#decoder.record(pass, this.#resized, images, (name, x, size) =>
			group.forEach(({ taps, finished }, i) => {
				const { pixel, height, width } = images[i];
				if (finished)
					taps.keep(pass, name, x, [size, height, width], { from: pixel * size, view: channelsFirst(size) });
			}),
		);
		group.forEach(({ taps, latentName, finished }, i) => {
			const { pixel, height, width } = images[i];
			if (latentName !== null)
				taps.keep(pass, latentName, this.#resized, [channels, height, width], {
					from: pixel * channels,
					view: channelsFirst(channels),
				});
			const [h, w] = [height * patch, width * patch];
			if (finished)
				taps.keep(pass, "image", output, [4, h, w], { from: pixel * patch ** 2 * 4, view: unitRgb, shape: [3, h, w] });
		});
		const [data] = await pass.submit([{ ...rgba, bytes: cell * patch ** 2 * 4 }]);
		return images.map(({ pixel, height, width }) => {
			const bytes = new Uint8Array(data, pixel * patch ** 2 * 4, height * width * patch ** 2 * 4);
			return { width: width * patch, height: height * patch, data: dropAlpha(bytes) };
		});
	}

	destroy(): void {
		this.#decoder.destroy();
		this.#gpu.free(this.#resized);
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

function dropAlpha(rgba: Uint8Array): Uint8Array<ArrayBuffer> {
	const rgb = new Uint8Array((rgba.length / 4) * 3);
	for (let p = 0; p < rgba.length / 4; p++) rgb.set(rgba.subarray(p * 4, p * 4 + 3), p * 3);
	return rgb;
}
