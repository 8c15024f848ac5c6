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
});
