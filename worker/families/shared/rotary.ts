import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Part } from "../../engine/round/parts.ts";
import type { Schedule } from "../../protocol/model-info.ts";

/** The rotary tables of all schedules, one after the other: cos [positions, headDim / 2], then sin. */
export class Rotary {
	readonly table: Tensor;
	readonly positions: number;
	/** First position of each schedule. */
	#first = new Map<string, number>();

	/** `make`: cos then sin, [2, positions, headDim / 2], of one schedule. */
	constructor(
		gpu: Gpu,
		schedules: Readonly<Record<string, Schedule>>,
		headDim: number,
		make: (name: string, grids: Schedule["grids"]) => Float32Array,
	) {
		const tables: Float32Array[] = [];
		let positions = 0;
		for (const [name, { grids }] of Object.entries(schedules)) {
			this.#first.set(name, positions);
			const table = make(name, grids);
			tables.push(table);
			positions += table.length / headDim;
		}
		const joined = new Float32Array(positions * headDim);
		let at = 0;
		for (const half of [0, 1]) {
			for (const table of tables) {
				const part = table.subarray((half * table.length) / 2, ((half + 1) * table.length) / 2);
				joined.set(part, at);
				at += part.length;
			}
		}
		this.table = gpu.upload("rope", [joined.length], joined);
		this.positions = positions;
	}

	/** First position of a part's scale. */
	at({ picture, scale }: Part): number {
		return (this.#first.get(picture.plan.schedule) as number) + firstToken(picture.tokens, scale);
	}
}

/** Tokens of all scales before `scale`. */
export const firstToken = (tokens: readonly number[], scale: number): number =>
	tokens.slice(0, scale).reduce((sum, count) => sum + count, 0);
