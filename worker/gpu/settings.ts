import { hostname } from "node:os";
import { z } from "zod";
import { DEFAULT_MODEL } from "../../model-shards/open.ts";
import { DTYPES } from "../families/shared/weights.ts";
import { parseBytes } from "../protocol/bytes.ts";
import { WorkerName } from "../protocol/messages.ts";
import { BearerSecret } from "../protocol/secret.ts";
import { numberFrom, wholeNumber } from "../protocol/setting-numbers.ts";

const Settings = z.object({
	/** Where the edge listens. */
	EDGE_URL: z
		.url({ protocol: /^https?$/, error: "must be an http or https address, such as http://localhost:8787" })
		.default("http://localhost:8787"),
	WORKER_SECRET: BearerSecret,
	/** Bundled model names, folders or URLs of folders, the default one first. */
	MODELS: z
		.string()
		.default(DEFAULT_MODEL)
		.transform((list) =>
			list
				.split(",")
				.map((name) => name.trim())
				.filter(Boolean),
		)
		.refine((list) => list.length > 0, "names no model"),
	/** Pictures made at once; by default 4 on a GPU, 1 on a software adapter. */
	SLOTS: wholeNumber(1, 64).optional(),
	/** Of weights that are stored as floats, and of keys and values. */
	DTYPE: z.enum(DTYPES, "must be f32 or f16").default("f32"),
	/** Bytes on the device for all models and their pictures: those that do not fit together take turns. */
	MEMORY: z
		.string()
		.transform((text, context) => {
			const bytes = parseBytes(text);
			if (bytes === undefined) context.addIssue("must be bytes, such as 6GiB");
			return bytes ?? 0;
		})
		.optional(),
	/** A GPU that gives nothing for this long, and for longer than a picture's pace explains, counts as hung. */
	WATCHDOG_SECONDS: numberFrom(0.1, 86_400).default(90),
	/** Where this machine is: the edge puts it into the pool nearest to that, where it has several (POOLS). */
	REGION: z.string().max(32, "must have at most 32 characters").optional(),
	/** Where /live, /ready and /metrics are answered; left out: nowhere. */
	HEALTH_PORT: wholeNumber(1, 65_535).optional(),
	HEALTH_HOST: z.string().max(253, "must be a name or an address").default("127.0.0.1"),
	LOG_FORMAT: z.enum(["text", "json"], "must be text or json").default("text"),
	WORKER_ID: WorkerName.default(
		`${hostname()
			.replace(/[^A-Za-z0-9._-]/g, "-")
			.slice(0, 40)}-${process.pid}`,
	),
});
export type Settings = z.infer<typeof Settings>;

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Settings out of the environment, where an empty variable is an unset one. Throws one line that names every variable
 * that is wrong; never its value.
 */
export function parseSettings<T extends z.ZodType>(schema: T, environment: Environment): z.output<T> {
	const parsed = schema.safeParse(Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== "")));
	if (parsed.success) return parsed.data;
	throw new SettingsError(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
}

/** A variable of the environment that is wrong, or what it names: another start will not mend it. */
export class SettingsError extends Error {
	override name = "SettingsError";
}

/** Throws SettingsError. */
export const readSettings = (environment: Environment): Settings => parseSettings(Settings, environment);

/** The address of one of the edge's paths, which may lie behind a prefix. */
export function edgeUrl(edge: string, path: string): URL {
	const url = new URL(edge);
	url.pathname = `${url.pathname.replace(/\/$/, "")}${path}`;
	return url;
}
