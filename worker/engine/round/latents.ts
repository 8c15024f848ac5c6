import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import type { Quantiser } from "../../families/family.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { Part } from "./batch.ts";
import type { Job } from "./picture.ts";

/** Each job's sum of codes so far, at the size of its last grid. A token of a scale is patch x patch cells. */
export class Latents {
	/** [slots * cells, channels] */
	readonly tensor: Tensor;
	/** Of the largest latent. */
	readonly cells: number;
	readonly channels: number;
	#gpu: Gpu;
	#patch: number;

	constructor(gpu: Gpu, { channels, patch }: Quantiser, schedules: Readonly<Record<string, Schedule>>, slots: number) {
		this.#gpu = gpu;
		this.#patch = patch;
		this.channels = channels;
		this.cells = latentCells(schedules) * patch ** 2;
		this.tensor = gpu.tensor("latents", [slots * this.cells, channels]);
	}

	/** Where a job's latent lies. */
	of(job: Job): ImageShape {
		return { ...this.map({ job, scale: job.grids.length - 1, cell: 0 }), pixel: job.slot * this.cells };
	}

	/** Where the map of a part's scale lies, in cells, among those of all parts. */
	map(part: Pick<Part, "job" | "scale" | "cell">): ImageShape {
		const { pixel, height, width } = tokenMap(part);
		return { pixel: pixel * this.#patch ** 2, height: height * this.#patch, width: width * this.#patch };
	}

	/** A scale's grid in cells. */
	grid({ grids }: Job, scale: number): [height: number, width: number] {
		return [grids[scale][0] * this.#patch, grids[scale][1] * this.#patch];
	}

	destroy(): void {
		this.#gpu.free(this.tensor);
	}
}

/** Where the map of a part's scale lies, in tokens. */
export const tokenMap = ({ job: { grids }, scale, cell }: Pick<Part, "job" | "scale" | "cell">): ImageShape => ({
	pixel: cell,
	height: grids[scale][0],
	width: grids[scale][1],
});

/** Tokens of the largest map of all schedules. */
export const latentCells = (schedules: Readonly<Record<string, Schedule>>): number =>
	Math.max(
		...Object.values(schedules)
			.map(({ grids }) => grids[grids.length - 1])
			.map(([height, width]) => height * width),
	);
