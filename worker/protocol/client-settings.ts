/** What an operator says of how clients are served: the edge's, which `npm start` checks and passes on. */
import { z } from "zod";

/** As Standard Webhooks writes a key. */
export const WebhookSecret = z
	.string()
	.regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, "must be whsec_ and base64 of 24 to 64 bytes");

export const ClientSettings = z.object({
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
		.transform((names) => names.split(",").filter(Boolean)),
	/** Signs messages to webhooks that came without a secret: `whsec_` and base64 of 24 to 64 bytes. */
	WEBHOOK_SECRET: WebhookSecret.optional(),
	/** Whether a webhook may be http://127.0.0.1 as well: on a machine of one's own. */
	WEBHOOK_LOCAL: z.union([z.boolean(), z.stringbool()], "must be true or false").default(false),
	/** Where clients reach this edge, for addresses of pictures. Absent: where the request went. */
	PUBLIC_URL: z.url({ protocol: /^https?$/, error: "must be an http or https address" }).optional(),
	/** `none`: whoever comes by a loopback address needs no key. All others do, whatever this says. */
	API_KEYS: z.enum(["required", "none"], "must be required or none").optional(),
	/** Pictures a day for an address that brings no key; 0 is none. */
	ANONYMOUS_PER_DAY: z.coerce.number().int().min(0).max(1_000_000).default(0),
	/** The header that a proxy writes the caller's address into. Empty: there is none, and all without a key are one. */
	CLIENT_ADDRESS_HEADER: z
		.string()
		.regex(/^[a-z0-9-]{0,64}$/, "must be the name of a header, in small letters")
		.default("cf-connecting-ip"),
	/** A finished job's log can be read for this long. */
	JOB_KEEP_SECONDS: z.coerce.number().min(0.1).max(86_400).default(3600),
	/** Origins whose pages may ask, with commas between; `*` is all. */
	CORS_ORIGINS: z
		.string()
		.regex(/^\s*(\*|https?:\/\/[^\s,/]+(\s*,\s*https?:\/\/[^\s,/]+)*)\s*$/, "must be *, or origins with commas between")
		.default("*")
		.transform((list) => list.split(",").map((origin) => origin.trim())),
	/** A ticket's life. */
	TICKET_SECONDS: z.coerce.number().min(1).max(3600).default(120),
	/** A service in the form of OpenAI's moderation, asked about every prompt before it is queued. */
	MODERATION_URL: z.url({ protocol: /^https?$/, error: "must be an http or https address" }).optional(),
	/** Its bearer token. */
	MODERATION_KEY: z.string().max(512).optional(),
	MODERATION_SECONDS: z.coerce.number().min(0.1).max(60).default(3),
	/** What becomes of a prompt that the service does not judge as it should, and in time: refused, or let through. */
	MODERATION_FAILS: z.enum(["closed", "open"], "must be closed or open").default("closed"),
});
export type ClientSettings = z.infer<typeof ClientSettings>;
