/** What a device said of work, as an error of ours. */
import { KernelError } from "./errors.ts";

/** What is wrong with work, or undefined where nothing is. */
export type Verdict = Error | undefined;

/** What an error scope caught; a lost device, which says so elsewhere, has caught nothing. */
export const verdictOf = <E extends Error>(caught: Promise<GPUError | null>, as: (message: string) => E) =>
	caught.then(
		(error) => (error ? as(error.message) : undefined),
		() => undefined,
	);
export const wrong = (message: string) => new KernelError(message);
