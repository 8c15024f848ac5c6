import { hostname } from "node:os";
import { z } from "zod";

const Settings = z.object({
	/** Where the edge listens. */
	EDGE_URL: z.url({ protocol: /^https?$/ }).default("http://localhost:8787"),
	WORKER_SECRET: z.string().min(16).max(512),
	/** Bundled model names, folders or URLs of folders, the default one first. */
	MODELS: z
		.string()
		.default("emoji-128")
		.transform((list) =>
			list
				.split(",")
				.map((name) => name.trim())
				.filter(Boolean),
		)
		.refine((list) => list.length > 0, "names no model"),
	/** Pictures made at once; by default 4 on a GPU, 1 on a software adapter. */
	SLOTS: z.coerce.number().int().min(1).max(64).optional(),
	/** A GPU that gives nothing for this long, and for longer than a picture's pace explains, counts as hung. */
	WATCHDOG_SECONDS: z.coerce.number().min(0.1).max(86_400).default(90),
	WORKER_ID: z
		.string()
		.regex(/^[A-Za-z0-9._-]{1,64}$/)
		.default(
			`${hostname()
				.replace(/[^A-Za-z0-9._-]/g, "-")
				.slice(0, 40)}-${process.pid}`,
		),
});
export type Settings = z.infer<typeof Settings>;

/** Something that another start will not mend. */
export class ConfigurationError extends Error {
	override name = "ConfigurationError";
}

/** Throws ConfigurationError naming the variable that is wrong; never its value. */
export function readSettings(environment: Record<string, string | undefined>): Settings {
	const parsed = Settings.safeParse(environment);
	if (parsed.success) return parsed.data;
	throw new ConfigurationError(
		parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "),
	);
}

/** What a request to `where` carries: the secret, where it is the edge that is asked. Nobody else gets to see it. */
export function edgeHeaders(
	where: string,
	{ EDGE_URL, WORKER_SECRET }: { EDGE_URL?: string; WORKER_SECRET?: string },
): Record<string, string> {
	if (!WORKER_SECRET || !EDGE_URL || !URL.canParse(EDGE_URL) || new URL(where).origin !== new URL(EDGE_URL).origin)
		return {};
	return { authorization: `Bearer ${WORKER_SECRET}` };
}
