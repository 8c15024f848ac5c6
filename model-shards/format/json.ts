/** JSON that others wrote: read, and held against the form that is expected. */
import { z } from "zod";
import { ModelFormatError } from "./errors.ts";

/** `where` names the text in the error, `advice` follows it. Throws ModelFormatError for what is no JSON. */
export function parseJson(text: string | Uint8Array, where: string, advice = ""): unknown {
	try {
		return JSON.parse(typeof text === "string" ? text : new TextDecoder().decode(text));
	} catch (error) {
		throw new ModelFormatError(`${where} is not JSON: ${(error as Error).message}. ${advice}`.trimEnd());
	}
}

/** The value as the schema has it. `problem` begins the ModelFormatError for one that is not of that form. */
export function formed<T extends z.ZodType>(schema: T, value: unknown, problem: string): z.infer<T> {
	const parsed = schema.safeParse(value);
	if (!parsed.success) throw new ModelFormatError(`${problem}:\n${z.prettifyError(parsed.error)}`);
	return parsed.data;
}
