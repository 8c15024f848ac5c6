/** The OpenAPI document of the operations: JSON Schemas are made from the zod schemas, nothing is written twice. */
import { z } from "zod";
import { type Content, type Operation, operations, type SchemaName, type SecurityName, schemas } from "./operations.ts";

type Json = Record<string, unknown>;

const bearer = (description: string): Json => ({ type: "http", scheme: "bearer", description });
const securitySchemes: Record<SecurityName, Json> = {
	key: bearer(
		"An API key, `fl_...`. None is needed with API_KEYS=none at a loopback address, or within ANONYMOUS_PER_DAY.",
	),
	ticket: { type: "apiKey", in: "query", name: "ticket", description: "Of POST /v1/tickets." },
	admin: bearer("The edge's ADMIN_SECRET, or a key with the scope `admin`."),
	worker: bearer("A token for that model, of POST /internal/workers/token."),
};

let made: Json | undefined;
/** Made at the first call. */
export function document(): Json {
	made ??= {
		openapi: "3.1.1",
		info: {
			title: "Firstlight",
			version: "1",
			description: "Text to image, scale by scale.",
			license: { name: "MIT" },
		},
		servers: [{ url: "/" }],
		paths: paths(),
		webhooks: {
			jobEnded: {
				post: {
					summary: "A job that was asked for with a webhook has ended",
					description: "Headers and signature are as standardwebhooks.com has them.",
					requestBody: { required: true, content: { "application/json": { schema: ref("WebhookMessage") } } },
					responses: {
						"2XX": { description: "It is taken." },
						410: { description: "Nothing more is wanted. After anything else it is sent again." },
					},
				},
			},
		},
		components: {
			schemas: Object.fromEntries(
				Object.entries(schemas).map(([name, schema]) => [name, jsonSchema(schema, name.endsWith("Request"))]),
			),
			securitySchemes,
		},
	};
	return made;
}

/** Of what comes in, where a default may be left out; or of what goes out. */
function jsonSchema(schema: z.ZodType, comesIn: boolean): Json {
	const { $schema: _, ...json } = z.toJSONSchema(schema, {
		io: comesIn ? "input" : "output",
		// What no JSON Schema says (any value) is no restriction.
		unrepresentable: "any",
	});
	return json;
}

export interface Parameter {
	name: string;
	in: "path" | "query" | "header";
	required: boolean;
	description: string;
	schema: unknown;
}

export function parametersOf({ parameters = {}, headers = {}, query }: Operation): Parameter[] {
	const { properties = {}, required = [] } = (query ? jsonSchema(query, true) : {}) as {
		properties?: Record<string, Json>;
		required?: string[];
	};
	const named = (where: "path" | "header", all: Readonly<Record<string, string>>) =>
		Object.entries(all).map(
			([name, description]): Parameter => ({
				name,
				in: where,
				required: where === "path",
				description,
				schema: { type: "string" },
			}),
		);
	return [
		...named("path", parameters),
		...named("header", headers),
		...Object.entries(properties).map(
			([name, { description = "", ...schema }]): Parameter => ({
				name,
				in: "query",
				required: required.includes(name),
				description: String(description),
				schema,
			}),
		),
	];
}

function paths(): Json {
	const byPath: Record<string, Json> = {};
	for (const operation of operations) {
		const { method, path, summary, description, body, bodyOptional, answers, needs } = operation;
		const content = body && { "application/json": { schema: ref(body) } };
		byPath[path] = {
			...byPath[path],
			[method]: {
				operationId: `${method}${path.replace(/[^a-z0-9]+([a-z0-9]?)/gi, (_, first: string) => first.toUpperCase())}`,
				summary,
				...(description && { description }),
				parameters: parametersOf(operation),
				...(content && { requestBody: { required: !bodyOptional, content } }),
				responses: Object.fromEntries(Object.entries(answers).map(([status, answer]) => [status, response(answer)])),
				...(needs && { security: needs.map((name) => ({ [name]: [] })) }),
			},
		};
	}
	return byPath;
}

function response({ description, json, type }: Content): Json {
	if (json) return { description, content: { "application/json": { schema: ref(json) } } };
	return type ? { description, content: { [type]: {} } } : { description };
}

const ref = (name: SchemaName): Json => ({ $ref: `#/components/schemas/${name}` });
