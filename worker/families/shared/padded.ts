/** Floats that a row of so many takes on a device, where kernels read four at a time: the rest are zeros. */
export const padded = (count: number): number => Math.ceil(count / 4) * 4;
