/** What the benchmarks share. */
import type { ModelInfo } from "../../worker/protocol/model-info.ts";

/** How a benchmark is followed and stopped. */
export interface Watch {
	/** Its reason is thrown between pictures, and between the scales of one. */
	signal?: AbortSignal;
	/** Pictures made, and in all. */
	progress?: (done: number, total: number) => void;
}

/** What is drawn where it does not matter what: a prompt, or of a model that draws classes the first one. */
export const drawnBy = ({ classes }: ModelInfo): { prompt: string } | { label: number } =>
	classes === undefined ? { prompt: "a photo of a red apple" } : { label: 0 };

export function round(value: number, digits = 0): number {
	return Number(value.toFixed(digits));
}
export function mib(bytes: number): string {
	return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
