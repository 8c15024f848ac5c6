import { type ParseArgsConfig, parseArgs } from "node:util";

/** A command line that cannot be understood. */
export class UsageError extends Error {
	override name = "UsageError";
}

/** node's parseArgs, with its complaints as UsageError. */
export function parse<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
	try {
		return parseArgs(config);
	} catch (error) {
		throw new UsageError((error as Error).message);
	}
}

/** One of the choices of an option. */
export function oneOf<T extends string>(option: string, value: string, choices: readonly T[]): T {
	if (!choices.includes(value as T))
		throw new UsageError(`--${option} must be one of ${choices.join(", ")}, not ${value}.`);
	return value as T;
}

/** A whole number within [low, high]. */
export function whole(name: string, text: string, low: number, high: number): number {
	const value = Number(text);
	if (!/^\d+$/.test(text) || value < low || value > high)
		throw new UsageError(`--${name} must be a whole number from ${low} to ${high}, not ${text}.`);
	return value;
}
