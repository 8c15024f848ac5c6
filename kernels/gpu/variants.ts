/**
 * Variants: several programs for one operator; all of one order of sums give the same bits. Which one runs is data, by
 * operator and shape.
 */
import { Branch } from "./branch.ts";
import type { Gpu } from "./gpu.ts";
import type { Pass } from "./pass.ts";
import type { Tensor } from "./tensor.ts";

export interface Variant {
	name: string;
	/** Another order of sums than that of most. Which order runs may depend on the weight's shape only. */
	order?: string;
	needs?: readonly GPUFeatureName[];
}

/** The order of the variants that name none. */
export const PLAIN = "plain";

/** Variant name by operator and shape class (`Tunable.key`): plain data, measured by `tune`. */
export type Tuning = Readonly<Record<string, string>>;

/** All that there is to know of an operator's variants. `S`: a shape it runs at. */
export interface Tunable<S, V extends Variant = Variant> {
	/** Shape class: what a choice is kept by. */
	key(shape: S): string;
	/** Where there are several orders of sums: what one is chosen by, for all shapes of that key. */
	orderKey?(shape: S): string | undefined;
	/** The plainest first: what the tuner checks the others against. */
	variants: readonly V[];
	/** Whether it may run, beside the features that it needs. */
	fits?(gpu: Gpu, variant: V, shape: S): boolean;
	/** Name of what runs where nothing was measured, among those of an order. */
	untuned(gpu: Gpu, shape: S, order: string): string;
	/** How it is measured. */
	trial(shape: S): TrialRun<V>;
}

/** An operator at one shape on inputs of its own. */
interface TrialRun<V extends Variant = Variant> {
	/** For people. */
	name: string;
	flops: number;
	inputs: readonly { size: number; dtype?: "f16" }[];
	outputs: number;
	/** Outputs of the first row, which must not depend on how many there are. */
	row: number;
	record(pass: Pass, inputs: readonly Tensor[], y: Tensor, variant?: V): void;
}

/** Whether four lanes are the whole machine, whose loads quads share by swaps (SwiftShader). */
export const inQuads = ({ facts: { lanes, late }, device }: Gpu): boolean =>
	lanes === 4 && !late && device.features.has("subgroups");

/** Whether this device has what a variant needs. */
export const available = (gpu: Gpu, { needs }: Variant): boolean =>
	needs === undefined || needs.every((feature) => gpu.device.features.has(feature));

/** Those that may run here at a shape, the plainest first. */
export const usable = <S, V extends Variant>(gpu: Gpu, { variants, fits }: Tunable<S, V>, shape: S): V[] =>
	variants.filter((variant) => available(gpu, variant) && (fits?.(gpu, variant, shape) ?? true));

/** The order of sums at a shape: the measured one where this adapter can run it, else the plain one. */
export function orderOf<S, V extends Variant>(gpu: Gpu, tunable: Tunable<S, V>, shape: S): string {
	const key = tunable.orderKey?.(shape);
	const order = key === undefined ? undefined : gpu.tuning[key];
	return order !== undefined && usable(gpu, tunable, shape).some((variant) => variant.order === order) ? order : PLAIN;
}

/** Shapes that a choice is kept of; a busy worker goes over its few again and again. */
const MOST_CHOICES = 4096;

/** Choices by operator and shape: every dispatch asks for one. */
export class Choices {
	#kept = new Branch<Variant>();
	#count = 0;

	/**
	 * As `choose`, remembered. For the one place where an operator runs, so that its shapes have the same fields in the
	 * same order.
	 */
	of<S, V extends Variant>(gpu: Gpu, tunable: Tunable<S, V>, shape: S): V {
		if (this.#count >= MOST_CHOICES) this.clear();
		let branch = this.#kept.by(tunable);
		for (const name in shape) branch = branch.by(shape[name]);
		if (!branch.leaf) {
			branch.leaf = choose(gpu, tunable, shape);
			this.#count++;
		}
		return branch.leaf as V;
	}

	clear(): void {
		this.#kept.clear();
		this.#count = 0;
	}
}

/** The measured choice at a shape, where it can run here in the order that the shape has, else the operator's own. */
export function choose<S, V extends Variant>(gpu: Gpu, tunable: Tunable<S, V>, shape: S): V {
	const { variants, fits } = tunable;
	const order = orderOf(gpu, tunable, shape);
	const tuned = gpu.tuning[tunable.key(shape)];
	if (tuned !== undefined) {
		const variant = variants.find(({ name }) => name === tuned);
		if (
			variant &&
			(variant.order ?? PLAIN) === order &&
			available(gpu, variant) &&
			(fits?.(gpu, variant, shape) ?? true)
		)
			return variant;
	}
	const untuned = tunable.untuned(gpu, shape, order);
	const variant = variants.find(({ name }) => name === untuned);
	if (!variant)
		throw new RangeError(`There is no variant ${untuned}; there are ${variants.map(({ name }) => name).join(", ")}.`);
	return variant;
}

/** A trial has about so many outputs at most: each variant's are read back and compared. */
export const TRIAL_OUTPUTS = 2 ** 21;

/** Shape classes of a count of rows or pixels: the next power of two, 1024 for all larger ones. */
export const bucket = (count: number) => Math.min(1024, 2 ** Math.ceil(Math.log2(Math.max(1, count))));

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);
