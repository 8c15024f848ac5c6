/** What an operator says of how the edge works: `npm start` checks it and passes it on. */
import { z } from "zod";
import { Digest } from "./plan.ts";
import { WebhookSecret } from "./secret.ts";
import { numberFrom, wholeNumber } from "./setting-numbers.ts";

const seconds = (least: number, most: number, otherwise: number) => numberFrom(least, most).default(otherwise);

const json = <T extends z.ZodType>(schema: T, otherwise: string) =>
	z
		.string()
		.default(otherwise)
		.transform((text, context): unknown => {
			try {
				return JSON.parse(text);
			} catch {
				context.addIssue("must be JSON");
				return z.NEVER;
			}
		})
		.pipe(schema);

const PoolPlace = z.strictObject({
	name: z.string().regex(/^[a-z0-9-]{1,32}$/),
	/** Models of its workers. Absent: all. */
	models: z.array(z.string().max(64)).max(64).optional(),
	/** What it is nearest to: continents of readers as Cloudflare names them (`EU`), and regions of workers. */
	near: z.array(z.string().max(32)).max(64).default([]),
});
export type PoolPlace = z.infer<typeof PoolPlace>;

export const OperatorSettings = z.object({
	/** A worker's token, which it needs to dial, and one for the files of a model, which a long download may need. */
	WORKER_TOKEN_SECONDS: seconds(1, 86_400, 600),
	MODEL_TOKEN_SECONDS: seconds(1, 604_800, 21_600),
	/** Workers report this often; three missed reports end their membership. */
	HEARTBEAT_SECONDS: seconds(0.1, 60, 10),
	/**
	 * A job is stopped this long after the last sign of a reader. With the time to notice that one left (two comments):
	 * five seconds.
	 */
	READER_GRACE_SECONDS: seconds(0.1, 600, 4),
	/** A job that is not finished by then ends with an error. */
	JOB_DEADLINE_SECONDS: seconds(0.1, 86_400, 600),
	/** A request's body that has not come by then will not come. */
	BODY_SECONDS: seconds(0.1, 600, 30),
	/** The answer under an Idempotency-Key is given again for this long. */
	IDEMPOTENCY_SECONDS: seconds(0.1, 604_800, 86_400),
	/** A webhook that was not taken is tried again after this long, then after four times as long each time. */
	WEBHOOK_RETRY_SECONDS: seconds(0.01, 3600, 5),
	/** A queued job whose model no worker offers any more ends with an error after this long. */
	NO_WORKER_SECONDS: seconds(0.1, 3600, 60),
	/**
	 * Silence on an event stream is broken by a comment this often. A connection that the reader closed shows only when
	 * something is written to it, and behind a proxy (as in `wrangler dev`) only at the second write.
	 */
	COMMENT_SECONDS: seconds(0.1, 60, 0.5),
	/** Jobs that may wait for a worker. 0: whom no free slot takes at once is refused. */
	QUEUE_LIMIT: wholeNumber(0, 10_000).default(64),
	/** A worker whose connection is lost keeps its jobs for this long: it dials again. */
	REJOIN_SECONDS: seconds(0, 60, 2),
	/**
	 * A request that finds no worker waits this long for one to dial again, where some had just been there: a deploy
	 * drops all connections at once.
	 */
	RETURN_SECONDS: seconds(0, 60, 5),
	/**
	 * An attempt of which nothing came for this long, and for longer than the picture's pace explains, goes to another
	 * worker (worker/protocol/allowance.ts).
	 */
	STALL_SECONDS: seconds(0.1, 3600, 60),
	/** A picture that was begun waits this long for a worker with the same numerics, which goes on bit for bit. */
	NUMERICS_SECONDS: seconds(0, 600, 3),
	/** What `/healthz` and the catalog say is not older than this. */
	STATUS_SECONDS: seconds(0, 60, 1),
	/**
	 * Shares of new jobs by model digest, as JSON: `{"sha256:...": 9, "sha256:...": 1}`. A version that is not in it
	 * weighs as many as its workers have slots.
	 */
	MODEL_WEIGHTS: json(z.record(Digest, z.number().min(0)), "{}"),
	/**
	 * Pools of workers by model and region, as JSON: `[{"name": "eu", "near": ["EU", "AF"]}, {"name": "us"}]`. Two of the
	 * same kind share its workers and pictures.
	 */
	POOLS: json(z.array(PoolPlace).min(1).max(64), '[{"name": "default"}]'),
	/** Leases of one job that failed or gave nothing. Those that a worker had to hand back are counted apart. */
	MAX_ATTEMPTS: wholeNumber(1, 100).default(3),
	/**
	 * Whether what cannot be done as it was asked (a size the model does not make, a model of OpenAI's, a style) is
	 * refused. Otherwise it is done as nearly as possible, and a `warning` header says so.
	 */
	STRICT: z.union([z.boolean(), z.stringbool()], "must be true or false").default(false),
	/** Further names of models, `name=model` with commas between them. */
	MODEL_ALIASES: z
		.string()
		.regex(/^\s*([^=,\s]+=[^=,\s]+(\s*,\s*|\s*$))*$/, "must be name=model, with commas between them")
		.default("")
		.transform((list) => new Map([...list.matchAll(/([^=,\s]+)=([^=,\s]+)/g)].map(([, name, model]) => [name, model]))),
	/** Published models whose files anyone may have, so that browsers can run them: names with commas between. */
	PUBLIC_MODELS: z
		.string()
		.max(4096)
		.default("")
		.transform((names) =>
			names
				.split(",")
				.map((name) => name.trim())
				.filter(Boolean),
		),
	/** Signs messages to webhooks that came without a secret: `whsec_` and base64 of 24 to 64 bytes. */
	WEBHOOK_SECRET: WebhookSecret.optional(),
	/** Whether a webhook may be http://127.0.0.1 as well: on a machine of one's own. */
	WEBHOOK_LOCAL: z.union([z.boolean(), z.stringbool()], "must be true or false").default(false),
	/** Where clients reach this edge, for addresses of pictures. Absent: where the request went. */
	PUBLIC_URL: z.url({ protocol: /^https?$/, error: "must be an http or https address" }).optional(),
	/** `none`: whoever comes by a loopback address needs no key. All others do, whatever this says. */
	API_KEYS: z.enum(["required", "none"], "must be required or none").optional(),
	/** Pictures a day for an address that brings no key; 0 is none. */
	ANONYMOUS_PER_DAY: wholeNumber(0, 1_000_000).default(0),
	/** The header that a proxy writes the caller's address into. Empty: there is none, and all without a key are one. */
	CLIENT_ADDRESS_HEADER: z
		.string()
		.regex(/^[a-z0-9-]{0,64}$/, "must be the name of a header, in small letters")
		.default("cf-connecting-ip"),
	/** A finished job's log can be read for this long. */
	JOB_KEEP_SECONDS: numberFrom(0.1, 86_400).default(3600),
	/** Origins whose pages may ask, with commas between; `*` is all. */
	CORS_ORIGINS: z
		.string()
		.regex(/^\s*(\*|https?:\/\/[^\s,/]+(\s*,\s*https?:\/\/[^\s,/]+)*)\s*$/, "must be *, or origins with commas between")
		.default("*")
		.transform((list) => list.split(",").map((origin) => origin.trim())),
	/** A ticket's life. */
	TICKET_SECONDS: numberFrom(1, 3600).default(120),
	/** A service in the form of OpenAI's moderation, asked about every prompt before it is queued. */
	MODERATION_URL: z.url({ protocol: /^https?$/, error: "must be an http or https address" }).optional(),
	/** Its bearer token. */
	MODERATION_KEY: z.string().max(512).optional(),
	MODERATION_SECONDS: numberFrom(0.1, 60).default(3),
	/** What becomes of a prompt that the service does not judge as it should, and in time: refused, or let through. */
	MODERATION_FAILS: z.enum(["closed", "open"], "must be closed or open").default("closed"),
});
export type OperatorSettings = z.infer<typeof OperatorSettings>;
