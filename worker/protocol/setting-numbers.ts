/** Numbers among an operator's settings, which come as text. */
import { z } from "zod";

/** Within bounds, both counted. */
export const numberFrom = (low: number, high: number) => {
	const problem = `must be a number from ${low} to ${high}`;
	return z.coerce.number(problem).min(low, problem).max(high, problem);
};

/** A whole one within bounds, both counted. */
export const wholeNumber = (low: number, high: number) => {
	const problem = `must be a whole number from ${low} to ${high}`;
	return z.coerce.number(problem).int(problem).min(low, problem).max(high, problem);
};
