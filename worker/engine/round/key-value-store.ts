import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import { Ranges } from "../../families/shared/ranges.ts";
import type { Dtype } from "../../families/shared/weights.ts";

/**
 * Keys and values of every job, one tensor [keys, 2 * width] a block: keys in the first half of a row, values in the
 * second. Jobs hold ranges of it, so that one dispatch attends for all of them. It grows when a range does not fit, and
 * stays that large. With f16 they take half the memory and are rounded once.
 */
export class KeyValueStore {
	#gpu: Gpu;
	#stride: number;
	#blocks: { ranges: Ranges; tensor: Tensor }[];

	constructor(gpu: Gpu, depth: number, width: number, dtype: Dtype) {
		this.#gpu = gpu;
		this.#stride = 2 * width;
		this.#blocks = Array.from({ length: depth }, (_, block) => ({
			ranges: new Ranges(),
			tensor: gpu.tensor(`keys and values ${block}`, [0, this.#stride], 0, dtype === "f16" ? dtype : undefined),
		}));
	}

	tensor(block: number): Tensor {
		return this.#blocks[block].tensor;
	}

	/** First key of `count` free ones. Throws DeviceError when the adapter cannot bind that many. */
	take(block: number, count: number): number {
		const held = this.#blocks[block];
		const fits = held.ranges.take(count);
		if (fits !== undefined) return fits;
		held.ranges.growFor(count);
		held.tensor = this.#gpu.grown(held.tensor, [held.ranges.size, this.#stride]);
		return held.ranges.take(count) as number;
	}

	give(block: number, start: number, count: number): void {
		this.#blocks[block].ranges.give(start, count);
	}

	destroy(): void {
		this.#gpu.free(...this.#blocks.map(({ tensor }) => tensor));
	}
}
