/**
 * The edge: routes for people, pages and clients under /v1, for GPU workers under /internal. The page itself is an
 * asset.
 */
import { type Context, type Handler, Hono } from "hono";
import { cors } from "hono/cors";
import { ApiError, asApiError } from "./errors.ts";
import { health, model, models, policyList } from "./routes/catalog.ts";
import { modelFile } from "./routes/files.ts";
import { generations } from "./routes/generations.ts";
import { connect, deliver } from "./routes/internal.ts";
import { cancelJob } from "./routes/jobs.ts";
import { preview } from "./routes/preview.ts";
import type { App } from "./settings.ts";

export { Job } from "./job.ts";
export { Pool } from "./pool.ts";
export type { Env } from "./settings.ts";

const app = new Hono<App>();

app.use(async (c, next) => {
	c.set("requestId", crypto.randomUUID());
	await next();
	// A WebSocket's answer has no headers of ours.
	if (c.res.status === 101) return;
	c.res = new Response(c.res.body, c.res);
	for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
	c.res.headers.set("x-request-id", c.var.requestId);
});

const SECURITY_HEADERS = {
	"x-content-type-options": "nosniff",
	"referrer-policy": "no-referrer",
	"content-security-policy": "default-src 'none'; frame-ancestors 'none'",
};

// Open to every origin: the API knows no cookies, so a foreign page can do nothing here that its reader could not.
app.use(
	"/v1/*",
	cors({
		origin: "*",
		allowMethods: ["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
		exposeHeaders: ["x-request-id", "retry-after", "x-should-retry"],
		maxAge: 86_400,
	}),
);

const routes: [method: "GET" | "POST" | "DELETE", path: string, handler: Handler<App>][] = [
	["GET", "/v1/images/preview", preview],
	["POST", "/v1/images/generations", generations],
	["DELETE", "/v1/jobs/:job", cancelJob],
	["GET", "/v1/models", models],
	["GET", "/v1/models/:model", model],
	["GET", "/v1/models/:model/files/:file", modelFile],
	["GET", "/v1/policies", policyList],
	["GET", "/healthz", health],
	["GET", "/internal/pool/connect", connect],
	["POST", "/internal/jobs/:job/events", deliver],
];
for (const [method, path, handler] of routes) {
	app.on(method, path, handler);
	const allow = method === "GET" ? "GET, HEAD, OPTIONS" : `${method}, OPTIONS`;
	app.all(path, (c) => {
		if (c.req.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
		throw new ApiError(405, "method_not_allowed", `${path} takes ${allow}, not ${c.req.method}.`, {
			headers: { allow },
		});
	});
}

app.notFound((c: Context<App>) => {
	return new ApiError(
		404,
		"not_found",
		`There is nothing at ${c.req.path.slice(0, 200)}. docs/api.md lists the routes.`,
	).toResponse();
});
app.onError((error, c) => asApiError(error, c.var.requestId).toResponse());

export default app;
