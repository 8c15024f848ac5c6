import type { HalvesRotation } from "../../../kernels/attention/rope.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import { condOf, ROWS } from "../../engine/round/kv-plan.ts";
import type { Part } from "../../engine/round/parts.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import { firstToken } from "../shared/rotary.ts";
import type { HartConfig } from "./config.ts";

/**
 * HART's rotary positions. Text tokens stand one after the other. A scale's grid is spread over the last one's, beyond
 * the row's last text token: the first output of a pair turns with y, the second with x. So angles differ by job and
 * guidance row: every row of a slot has an entry for each text token, then for each line and column of every scale.
 */
export class HartRotary implements HalvesRotation {
	readonly angles: Tensor;
	readonly entries: number;
	readonly places: Tensor;
	#gpu: Gpu;
	#config: HartConfig;
	/** By entry of an image, after those of the text: its coordinate, without the text. */
	#coordinates: number[] = [];
	/** First position of each schedule's second scale. */
	#first = new Map<string, number>();

	constructor(gpu: Gpu, config: HartConfig, schedules: Readonly<Record<string, Schedule>>, slots: number) {
		const { textMaxTokens, width, heads } = config;
		this.#gpu = gpu;
		this.#config = config;
		const places = Array.from({ length: textMaxTokens }, (_, token) => [token, token]).flat();
		for (const [name, { grids }] of Object.entries(schedules)) {
			const last = grids[grids.length - 1];
			this.#first.set(name, places.length / 2);
			for (const grid of grids.slice(1)) {
				const [lines, columns] = grid.map((side, axis) => {
					const entry = textMaxTokens + this.#coordinates.length;
					for (let i = 0; i < side; i++) this.#coordinates.push(Math.fround(Math.fround(i / side) * last[axis]));
					return entry;
				});
				for (let y = 0; y < grid[0]; y++) for (let x = 0; x < grid[1]; x++) places.push(lines + y, columns + x);
			}
		}
		this.entries = textMaxTokens + this.#coordinates.length;
		this.places = gpu.upload("rotary places", [places.length / 2, 2], Uint32Array.from(places));
		this.angles = gpu.tensor("rotary angles", [slots * ROWS * this.entries, width / heads]);
	}

	/** First position of a part's scale. */
	at({ picture: { plan, tokens }, scale }: Part): number {
		return scale === 0 ? 0 : (this.#first.get(plan.schedule) as number) + firstToken(tokens, scale) - tokens[0];
	}

	/** Writes a slot's angles. `text`: by guidance row, the positions of its text tokens. */
	fill(slot: number, text: readonly (readonly number[])[]): void {
		const { width, heads, ropeTheta } = this.#config;
		const headDim = width / heads;
		const frequencies = (step: number) =>
			Array.from({ length: headDim / step }, (_, m) =>
				Math.fround(1 / Math.fround(ropeTheta ** Math.fround((step * m) / headDim))),
			);
		const [line, grid] = [frequencies(2), frequencies(4)];
		const data = new Float32Array(ROWS * this.entries * headDim);
		let at = 0;
		const put = (position: number, of: readonly number[]) => {
			const angles = of.map((frequency) => Math.fround(position * frequency));
			data.set([...angles.map(Math.cos), ...angles.map(Math.sin)], at);
			at += headDim;
		};
		for (const positions of text) {
			for (const position of positions) put(position, line);
			for (const coordinate of this.#coordinates)
				put(Math.fround(coordinate + positions[positions.length - 1]), [...grid, ...grid]);
		}
		this.#gpu.write(this.angles, condOf(slot, 0) * this.entries * headDim, data);
	}

	destroy(): void {
		this.#gpu.free(this.angles, this.places);
	}
}
