import type { HalvesRotation } from "../../../kernels/attention/rope.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { PictureView } from "../family.ts";
import { condOf, ROWS } from "../shared/guidance.ts";
import { firstToken, type Schedules } from "../shared/schedules.ts";
import type { HartConfig } from "./config.ts";

export interface HartRotary {
	halves: HalvesRotation;
	/** First position of a picture's scale. */
	at(picture: PictureView, scale: number): number;
	/** Writes a slot's angles. `text`: by guidance row, the positions of its text tokens. */
	fill(slot: number, text: readonly (readonly number[])[]): void;
}

/**
 * HART's rotary positions. Text tokens stand one after the other. A scale's grid is spread over the last one's, beyond
 * the row's last text token: the first output of a pair turns with y, the second with x. So angles differ by job and
 * guidance row: every row of a slot has an entry for each text token, then for each line and column of every scale.
 */
export function hartRotary(
	scope: Scope,
	gpu: Gpu,
	{ textMaxTokens, width, heads, ropeTheta }: HartConfig,
	schedules: Schedules,
	slots: number,
): HartRotary {
	const headDim = width / heads;
	const { places, coordinates, first } = placesOf(schedules, textMaxTokens);
	const entries = textMaxTokens + coordinates.length;
	const halves = {
		entries,
		places: scope.upload("rotary places", [places.length / 2, 2], Uint32Array.from(places)),
		angles: scope.tensor("rotary angles", [slots * ROWS * entries, headDim]),
	};
	const frequencies = (step: number) =>
		Array.from({ length: headDim / step }, (_, m) =>
			Math.fround(1 / Math.fround(ropeTheta ** Math.fround((step * m) / headDim))),
		);
	const [line, grid] = [frequencies(2), frequencies(4)];
	return {
		halves,
		at: ({ plan, tokens }, scale) =>
			scale === 0 ? 0 : (first.get(plan.schedule) as number) + firstToken(tokens, scale) - tokens[0],
		fill(slot, text) {
			const data = new Float32Array(ROWS * entries * headDim);
			let at = 0;
			const put = (position: number, of: readonly number[]) => {
				const angles = of.map((frequency) => Math.fround(position * frequency));
				data.set([...angles.map(Math.cos), ...angles.map(Math.sin)], at);
				at += headDim;
			};
			for (const positions of text) {
				const last = positions[positions.length - 1];
				for (const position of positions) put(position, line);
				for (const coordinate of coordinates) put(Math.fround(coordinate + last), [...grid, ...grid]);
			}
			gpu.write(halves.angles, condOf(slot, 0) * entries * headDim, data);
		},
	};
}

/**
 * The two entries of every position, text first; of entries behind the text, their coordinates without it; and the
 * first position of each schedule's second scale.
 */
function placesOf(schedules: Schedules, textTokens: number) {
	const coordinates: number[] = [];
	const first = new Map<string, number>();
	const places = Array.from({ length: textTokens }, (_, token) => [token, token]).flat();
	for (const [name, { grids }] of Object.entries(schedules)) {
		const last = grids[grids.length - 1];
		first.set(name, places.length / 2);
		for (const grid of grids.slice(1)) {
			const [lines, columns] = grid.map((side, axis) => {
				const entry = textTokens + coordinates.length;
				for (let i = 0; i < side; i++) coordinates.push(Math.fround(Math.fround(i / side) * last[axis]));
				return entry;
			});
			for (let y = 0; y < grid[0]; y++) for (let x = 0; x < grid[1]; x++) places.push(lines + y, columns + x);
		}
	}
	return { places, coordinates, first };
}
