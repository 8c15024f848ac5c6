/** Whether tensors would fit, before anything is given up for them. */

import { OutOfMemoryError } from "../../../kernels/gpu/errors.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Dtype } from "../../families/shared/weights.ts";

/** A tensor that is to be made. */
export interface Planned {
	label: string;
	shape: readonly number[];
	/** Default f32. */
	dtype?: Dtype;
	/** It may be longer than a binding: windows of it are bound, or nothing is. */
	long?: boolean;
}

/**
 * Whether there is memory for these tensors beside all there are, and a binding for each. A tensor that memory runs out
 * for takes the device with it, and every running picture: this asks first, and costs them nothing.
 */
export async function hasRoom(gpu: Gpu, tensors: readonly Planned[]): Promise<boolean> {
	const bytes = tensors.map(plannedBytes);
	return tensors.every(fits(gpu)) && (await gpu.room(sumOf(bytes), Math.max(...bytes)));
}

/** What a tensor is made in: a binding holds it whole, or it is long and a buffer does. */
const most = ({ bindingBytes, bufferBytes }: Gpu, { long }: Planned): number => (long ? bufferBytes : bindingBytes);
const fits = (gpu: Gpu) => (tensor: Planned) => plannedBytes(tensor) <= most(gpu, tensor);

/** What to say where there is none. */
export function noRoom(gpu: Gpu, tensors: readonly Planned[]): OutOfMemoryError {
	const largestOf = (some: readonly Planned[]) =>
		some.reduce((most, next) => (plannedBytes(next) > plannedBytes(most) ? next : most));
	const over = tensors.filter((tensor) => !fits(gpu)(tensor));
	const largest = largestOf(over.length > 0 ? over : tensors);
	const [bytes, all] = [plannedBytes(largest), sumOf(tensors.map(plannedBytes))];
	return new OutOfMemoryError(
		over.length > 0
			? `${largest.label} needs a buffer of ${bytes} bytes; this adapter ` +
					`${largest.long ? "has buffers of" : "binds"} at most ${most(gpu, largest)}.`
			: `There is no device memory for another picture: ${all} bytes, ${bytes} of them for ${largest.label}, ` +
					`beside the ${gpu.bytes} in use (${gpu.facts.name}).`,
	);
}

/** What a planned tensor takes. */
export const plannedBytes = ({ shape, dtype }: Planned): number =>
	shape.reduce((product, size) => product * size, dtype === "f16" ? 2 : 4);
const sumOf = (bytes: readonly number[]): number => bytes.reduce((sum, one) => sum + one, 0);
