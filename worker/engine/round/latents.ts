import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import type { Quantiser } from "../../families/family.ts";
import { latentCells } from "../../families/shared/schedules.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { Part } from "./parts.ts";
import type { Picture } from "./picture.ts";

type ScaleMap = Pick<Part, "picture" | "scale" | "cell">;

/** Each picture's sum of codes so far, at the size of its last grid. A token of a scale is patch x patch cells. */
export class Latents implements Disposable {
	/** [slots * cells, channels] */
	readonly tensor: Tensor;
	/** Of the largest latent. */
	readonly cells: number;
	readonly channels: number;
	#patch: number;
	#owned: Scope;

	constructor(gpu: Gpu, { channels, patch }: Quantiser, schedules: Readonly<Record<string, Schedule>>, slots: number) {
		using made = new Scope(gpu);
		this.#patch = patch;
		this.channels = channels;
		this.cells = latentCells(schedules) * patch ** 2;
		this.tensor = made.tensor("latents", [slots * this.cells, channels]);
		this.#owned = made.move();
	}

	/** Where a picture's latent lies. */
	of(picture: Picture): ImageShape {
		return { ...this.map({ picture, scale: picture.grids.length - 1, cell: 0 }), pixel: picture.slot * this.cells };
	}

	/** Where the map of a part's scale lies, in cells, among those of all parts. */
	map(part: ScaleMap): ImageShape {
		const { pixel, height, width } = tokenMap(part);
		return { pixel: pixel * this.#patch ** 2, height: height * this.#patch, width: width * this.#patch };
	}

	/** A scale's grid in cells. */
	grid({ grids }: Picture, scale: number): [height: number, width: number] {
		return [grids[scale][0] * this.#patch, grids[scale][1] * this.#patch];
	}

	[Symbol.dispose](): void {
		this.#owned[Symbol.dispose]();
	}
}

/** The maps of the parts' scales as tokens of patches. */
export const patchShuffle = ({ patch, channels, features }: Quantiser, parts: readonly ScaleMap[]) => ({
	images: parts.map(tokenMap),
	side: patch,
	channels: features / patch ** 2,
	stride: channels,
});

/** Where the map of a part's scale lies, in tokens. */
const tokenMap = ({ picture: { grids }, scale, cell }: ScaleMap): ImageShape => ({
	pixel: cell,
	height: grids[scale][0],
	width: grids[scale][1],
});
