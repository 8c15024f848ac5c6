/** Thrown when no device can be had, or the device in use was lost. */
export class DeviceError extends Error {
	override name = "DeviceError";
}

/** Thrown when a tensor does not fit the device: its memory, or what one binding holds. */
export class OutOfMemoryError extends DeviceError {
	override name = "OutOfMemoryError";
}

/** Thrown when a driver takes longer over our kernels than it was given (`Gpu.patience`). */
export class SlowAdapterError extends DeviceError {
	override name = "SlowAdapterError";
}

/** Work that the device refused: WGSL, with the compiler's message and the numbered source, or a wrong dispatch. */
export class KernelError extends Error {
	override name = "KernelError";
}
