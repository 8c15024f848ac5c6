import type { Tuning } from "./variants.ts";

/** Where measured choices outlive the process, as far as the platform has such a place. */
export interface TuningStore {
	/** What was measured on this adapter for this version of the kernels; empty when nothing was. */
	read(adapter: string, kernels: number): Tuning;
	/** Keeps it for whatever starts next. Never throws: what cannot be kept is measured again. */
	write(adapter: string, kernels: number, tuning: Tuning): void;
}
