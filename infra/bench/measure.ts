/** What the benchmarks share. */

/** How a benchmark is followed and stopped. */
export interface Watch {
	/** Its reason is thrown between pictures, and between the scales of one. */
	signal?: AbortSignal;
	/** Pictures made, and in all. */
	progress?: (done: number, total: number) => void;
}

export function median(values: readonly number[]): number {
	const sorted = [...values].sort((a, b) => a - b);
	const half = sorted.length >> 1;
	return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
export function round(value: number, digits = 0): number {
	return Number(value.toFixed(digits));
}
export function mib(bytes: number): string {
	return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
