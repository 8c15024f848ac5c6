import type { z } from "zod";

/**
 * Parses what another release may have sent: fields that this one does not know are left out, also of what is strict
 * towards people. Not for plans: what is unknown there would be another picture.
 */
export function parseWire<T>(schema: z.ZodType<T>, json: unknown): z.ZodSafeParseResult<T> {
	const result = schema.safeParse(json);
	if (result.success || !result.error.issues.some(({ code }) => code === "unrecognized_keys")) return result;
	const known = structuredClone(json);
	for (const issue of result.error.issues) {
		if (issue.code !== "unrecognized_keys") continue;
		const at = issue.path.reduce((value, key) => (value as Record<PropertyKey, unknown>)[key], known);
		for (const key of issue.keys) delete (at as Record<string, unknown>)[key];
	}
	return schema.safeParse(known);
}
