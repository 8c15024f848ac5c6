/** Which variants run on an adapter: those measured before and kept, and those measured now. */
import type { AdapterFacts } from "./gpu/facts.ts";
import type { Gpu } from "./gpu/gpu.ts";
import type { Tuning } from "./gpu/variants.ts";
import type { Shapes } from "./index.ts";
import { KERNELS_VERSION, tune } from "./tune.ts";

const named = ({ name, driver, runtime }: AdapterFacts) => [name, driver, runtime].join(" / ");

/** What was measured on this adapter before; empty when nothing was, or the platform keeps nothing. */
export const keptTuning = ({ facts, tuningStore }: Gpu): Tuning =>
	tuningStore?.read(named(facts), KERNELS_VERSION) ?? {};

export interface LoadTuning {
	/**
	 * What is measured: on a real adapter what was not kept (the default; nothing where the platform cannot keep it), the
	 * same on a CPU too, or all.
	 */
	measure?: "missing, unless software" | "missing" | "all";
	progress?: (done: number, total: number) => void;
}

/**
 * Adds to `gpu.tuning` what was kept, after measuring the shapes it lacks, and returns what was measured. What is in
 * use stays: by it an open model has said what its bits are. Each choice is kept as soon as it is made. By default not
 * on a CPU, where it would take minutes of the first start: there `firstlight tune` does it, and until then the
 * operators' own choices run.
 */
export async function loadTuning(
	gpu: Gpu,
	shapes: Shapes,
	{ measure = "missing, unless software", progress }: LoadTuning = {},
): Promise<Tuning> {
	const kept = { ...keptTuning(gpu), ...gpu.tuning };
	gpu.tuning = kept;
	if (measure === "missing, unless software" && (gpu.facts.software || !gpu.tuningStore)) return {};
	let so: Tuning = kept;
	const measured = await tune(gpu, shapes, {
		known: measure === "all" ? {} : kept,
		progress,
		// At once, so that whoever stops it half-way keeps the half.
		chosen(choices) {
			so = { ...so, ...choices };
			gpu.tuningStore?.write(named(gpu.facts), KERNELS_VERSION, so);
		},
	});
	gpu.tuning = so;
	return measured;
}
