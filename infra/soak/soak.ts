import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import { policies } from "../../worker/policies/index.ts";

export interface SoakReport {
	pictures: number;
	/** Counted GPU bytes after the tenth picture and at the end: equal when nothing leaks. */
	gpuBytes: { tenth: number; end: number };
	/** Growth of the process's resident memory over the second half, in bytes a picture (least squares). */
	residentSlope: number;
}

/** Makes many pictures in a row, policies and seeds in turn, previews on. `pictures` is at least 20. */
export async function soak(
	gpu: Gpu,
	model: LoadedModel,
	pictures: number,
	progress?: (done: number) => void,
): Promise<SoakReport> {
	const plans = Object.values(policies).map((policy) => policy.plan(model.info, {}));
	const resident: number[] = [];
	let tenth = 0;
	for (let i = 0; i < pictures; i++) {
		for await (const _ of model.generate({
			plan: plans[i % plans.length],
			prompt: `a photo of a cat ${"and a dog ".repeat(i % 4)}`,
			seed: i,
			previews: "all",
		}));
		resident.push(process.memoryUsage.rss());
		if (i === 9) tenth = gpu.bytes;
		progress?.(i + 1);
	}
	return {
		pictures,
		gpuBytes: { tenth, end: gpu.bytes },
		residentSlope: slope(resident.slice(Math.floor(pictures / 2))),
	};
}

function slope(values: readonly number[]): number {
	const middle = (values.length - 1) / 2;
	const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
	let above = 0;
	let below = 0;
	values.forEach((value, i) => {
		above += (i - middle) * (value - mean);
		below += (i - middle) ** 2;
	});
	return above / below;
}
