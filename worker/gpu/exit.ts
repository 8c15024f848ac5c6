/**
 * How a worker's process ends, as whoever started it reads it: another start helps after `failed` alone, and after
 * `misconfigured` somebody has to change something first.
 */
export const ENDED = {
	drained: 0,
	/** The device is lost or hangs, or the edge that has the models cannot be reached. */
	failed: 1,
	/** A wrong setting or secret, a model that cannot be used, a newer process of the same name, another protocol. */
	misconfigured: 2,
} as const;
export type ExitCode = (typeof ENDED)[keyof typeof ENDED];
