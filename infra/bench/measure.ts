/** What the benchmarks share. */

/** How a benchmark is followed and stopped. */
export interface Watch {
	/** Its reason is thrown between pictures, and between the scales of one. */
	signal?: AbortSignal;
	/** Pictures made, and in all. */
	progress?: (done: number, total: number) => void;
}

export function round(value: number, digits = 0): number {
	return Number(value.toFixed(digits));
}
export function mib(bytes: number): string {
	return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
