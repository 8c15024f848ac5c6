import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { PictureView } from "../family.ts";
import { firstToken, type Schedules } from "./schedules.ts";

/** The rotary tables of all schedules, one after the other: by position cosines of headDim / 2 angles, then sines. */
export interface Rotary {
	cosSin: Tensor;
	/** First position of a picture's scale. */
	at(picture: PictureView, scale: number): number;
}

/** `make`: cos then sin, [2, positions, headDim / 2], of one schedule. */
export function rotaryOf(
	scope: Scope,
	schedules: Schedules,
	headDim: number,
	make: (name: string, grids: Schedule["grids"]) => Float32Array,
): Rotary {
	const first = new Map<string, number>();
	const tables: Float32Array[] = [];
	let positions = 0;
	for (const [name, { grids }] of Object.entries(schedules)) {
		first.set(name, positions);
		const table = make(name, grids);
		tables.push(table);
		positions += table.length / headDim;
	}
	const joined = new Float32Array(positions * headDim);
	const half = headDim / 2;
	let at = 0;
	for (const table of tables)
		for (let from = 0; from < table.length / 2; from += half, at += headDim) {
			joined.set(table.subarray(from, from + half), at);
			joined.set(table.subarray(table.length / 2 + from, table.length / 2 + from + half), at + half);
		}
	return {
		cosSin: scope.upload("rope", [positions, headDim], joined, true),
		at: ({ plan, tokens }, scale) => (first.get(plan.schedule) as number) + firstToken(tokens, scale),
	};
}
