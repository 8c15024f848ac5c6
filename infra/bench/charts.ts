/** What the benchmarks draw, from their reports. */
import type { PicturesReport } from "./pictures.ts";
import type { ShapeReport } from "./shape.ts";
import type { Chart } from "./time-by-scale.ts";

export function picturesChart({ model, policies }: PicturesReport, adapter: string): Chart {
	const groups = policies.map(({ policy, scales }) => {
		const bars = scales.map(({ grid, stage, transformer_ms }) => ({
			label: grid,
			stage,
			milliseconds: transformer_ms,
		}));
		return { name: policy, total: bars.reduce((sum, bar) => sum + bar.milliseconds, 0), bars };
	});
	return { title: `${model}: transformer time by scale`, subtitle: adapter, groups };
}

export function shapeChart({ shape, blocks, depth, policies }: ShapeReport, adapter: string): Chart {
	const groups = policies.map(({ policy, scales, total_ms }) => ({
		name: policy,
		total: total_ms ?? 0,
		bars: scales.flatMap(({ grid, stage, extrapolated_ms, measured_ms }) =>
			extrapolated_ms === null
				? []
				: [{ label: grid.split("x")[0], stage, milliseconds: extrapolated_ms, estimated: measured_ms === null }],
		),
	}));
	return {
		title: `${shape}, 1024x1024: time by scale, extrapolated`,
		subtitle: `${blocks} of ${depth} blocks run with random weights; hollow: not run. ${adapter}`,
		groups,
	};
}
