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
}

/**
 * Whether there is memory for these tensors beside all there are, and a binding for each. A tensor that memory runs out
 * for takes the device with it, and every running picture: this asks first, and costs them nothing.
 */
export async function hasRoom(gpu: Gpu, tensors: readonly Planned[]): Promise<boolean> {
	const bytes = tensors.map(plannedBytes);
	const largest = Math.max(...bytes);
	return largest <= gpu.bindingBytes && (await gpu.room(sumOf(bytes), largest));
}

/** What to say where there is none. */
export function noRoom(gpu: Gpu, tensors: readonly Planned[]): OutOfMemoryError {
	const largest = tensors.reduce((most, next) => (plannedBytes(next) > plannedBytes(most) ? next : most));
	const [bytes, all] = [plannedBytes(largest), sumOf(tensors.map(plannedBytes))];
	return new OutOfMemoryError(
		bytes > gpu.bindingBytes
			? `${largest.label} needs a buffer of ${bytes} bytes; this adapter binds at most ${gpu.bindingBytes}.`
			: `There is no device memory for another picture: ${all} bytes, ${bytes} of them for ${largest.label}, ` +
					`beside the ${gpu.bytes} in use (${gpu.facts.name}).`,
	);
}

/** What a planned tensor takes. */
export const plannedBytes = ({ shape, dtype }: Planned): number =>
	shape.reduce((product, size) => product * size, dtype === "f16" ? 2 : 4);
const sumOf = (bytes: readonly number[]): number => bytes.reduce((sum, one) => sum + one, 0);
