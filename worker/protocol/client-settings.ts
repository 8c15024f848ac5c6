/** What an operator says of how clients are served: the edge's, which `npm start` checks and passes on. */
import { z } from "zod";

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
	/** Where clients reach this edge, for addresses of pictures. Absent: where the request went. */
	PUBLIC_URL: z.url({ protocol: /^https?$/, error: "must be an http or https address" }).optional(),
});
