import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openFastest, openGpu, openReady } from "../../kernels/gpu/native/open.ts";
import type { Limits } from "../../kernels/gpu/request.ts";
import type { Terminal } from "./terminal.ts";

/**
 * The best adapter, however long its driver takes over our kernels, with a bar while they are compiled; with less than
 * its limits where that is asked for.
 */
export const openAdapter = async (terminal: Terminal, limits?: Limits): Promise<Gpu> =>
	withBar(await openGpu(limits), terminal);

/** The adapter that workers and `generate` begin with, however long its driver takes, with such a bar. */
export const openFastestAdapter = async (terminal: Terminal): Promise<Gpu> => withBar(await openFastest(), terminal);

/** What `prepare` makes of the best adapter that is ready in reasonable time, said and with such a bar. */
export const openReadyAdapter = <T>(terminal: Terminal, prepare: (gpu: Gpu) => Promise<T>): Promise<T> =>
	openReady(
		(gpu) => {
			terminal.say(`Adapter: ${gpu.facts.name}`);
			return prepare(withBar(gpu, terminal));
		},
		(line) => terminal.say(line),
	);

function withBar(gpu: Gpu, terminal: Terminal): Gpu {
	const bar = terminal.progress("{bar} {value}/{total} kernels compiled");
	gpu.compiling = (done, total) => {
		if (done < total) bar.report(done, total);
		else bar[Symbol.dispose]();
	};
	return gpu;
}
