import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import { type Policy, policies } from "../../worker/policies/index.ts";

export interface SoakReport {
	pictures: number;
	/** Counted GPU bytes after one picture by every policy and at the end: equal when nothing leaks. */
	gpuBytes: { warm: number; end: number };
	/**
	 * Growth of the process's resident memory over the second half, in bytes a picture (least squares), garbage
	 * collected: a heap that only has room to spare would look like a leak.
	 */
	residentSlope: number;
}

export interface SoakOptions {
	/** Left out: all. */
	by?: readonly Policy[];
	progress?: (done: number) => void;
}

/** Prompts of one to as many things, in turn. */
const THINGS = 4;

/**
 * Makes many pictures in a row, policies and seeds in turn, previews on; the first by each policy of the longest
 * prompt, so that nothing has to grow after them. Throws RangeError for fewer than two pictures a policy.
 */
export async function soak(
	gpu: Gpu,
	model: LoadedModel,
	pictures: number,
	{ by = Object.values(policies), progress }: SoakOptions = {},
): Promise<SoakReport> {
	const { classes } = model.info;
	const plans = by.map((policy) => policy.plan(model.info, {}));
	if (pictures < 2 * plans.length)
		throw new RangeError(`${pictures} pictures are too few: at least two by every policy, ${2 * plans.length}.`);
	const resident: number[] = [];
	let warm = 0;
	setFlagsFromString("--expose-gc");
	const collectGarbage = runInNewContext("gc") as () => void;
	for (let i = 0; i < pictures; i++) {
		const things = i < plans.length ? THINGS - 1 : i % THINGS;
		for await (const _ of model.generate({
			plan: plans[i % plans.length],
			...(classes === undefined
				? { prompt: `a photo of a cat ${"and a dog ".repeat(things)}` }
				: { label: things % classes }),
			seed: i,
			previews: "all",
		}));
		collectGarbage();
		resident.push(process.memoryUsage.rss());
		if (i === plans.length - 1) warm = gpu.bytes;
		progress?.(i + 1);
	}
	return {
		pictures,
		gpuBytes: { warm, end: gpu.bytes },
		// Of no fewer than two, or there is none.
		residentSlope: slope(resident.slice(Math.min(Math.floor(pictures / 2), pictures - 2))),
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
