/**
 * Variants: several programs for one operator; all of one order of sums give the same bits. Which one runs is data, by
 * operator and shape.
 */
import type { AdapterFacts } from "./facts.ts";

export interface Variant {
	name: string;
	/**
	 * Another order of sums than that of most. Which order runs may depend on the weight's shape only: `orderKey` of a
	 * trial says which.
	 */
	order?: string;
	needs?: readonly GPUFeatureName[];
}

/** Variant name by operator and shape class (`matmulKey` and its like): plain data, measured by `tune`. */
export type Tuning = Readonly<Record<string, string>>;

/** What programs are chosen and written for: an open device, and what was measured on it. */
export interface Target {
	readonly device: { readonly features: Pick<ReadonlySet<string>, "has"> };
	readonly facts: AdapterFacts;
	readonly tuning: Tuning;
}

export const available = (gpu: Target, { needs = [] }: Variant) =>
	needs.every((feature) => gpu.device.features.has(feature));

/** The measured choice for a shape class, else the operator's own for an unmeasured adapter. */
export function pick<T extends Variant>(gpu: Target, key: string, variants: readonly T[], fallback: string): T {
	const tuned = variants.find(({ name }) => name === gpu.tuning[key]);
	if (tuned && available(gpu, tuned)) return tuned;
	const variant = variants.find(({ name }) => name === fallback);
	if (!variant)
		throw new RangeError(`There is no variant ${fallback}; there are ${variants.map(({ name }) => name).join(", ")}.`);
	return variant;
}

/** Shape classes of a count of rows or pixels: the next power of two, 1024 for all larger ones. */
export const bucket = (count: number) => Math.min(1024, 2 ** Math.ceil(Math.log2(Math.max(1, count))));

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Program texts are long and asked for at every dispatch: `make` runs once for arguments of the same JSON. */
export function memo<A extends readonly unknown[], R>(make: (...args: A) => R): (...args: A) => R {
	const made = new Map<string, R>();
	return (...args) => {
		const key = JSON.stringify(args);
		let result = made.get(key);
		if (result === undefined) made.set(key, (result = make(...args)));
		return result;
	};
}
