/**
 * The edge: routes for people, pages and clients under /v1, for GPU workers under /internal. The page itself is an
 * asset.
 */
import { type Context, type Handler, Hono } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { requestId } from "hono/request-id";
import { NONCE, secureHeaders } from "hono/secure-headers";
import { timeout } from "hono/timeout";
import { timing } from "hono/timing";
import { CONNECT_PATH, LOADING_PATH } from "../protocol/messages.ts";
import { ApiError, asApiError } from "./http/errors.ts";
import { nearestPath, tidyPath, withinLimits } from "./http/request.ts";
import { health, model, models, policyList } from "./routes/catalog.ts";
import { jobEvents } from "./routes/events.ts";
import { modelFile } from "./routes/files.ts";
import { generations } from "./routes/generations.ts";
import { connect, deliver, loading } from "./routes/internal.ts";
import { createJobs, job, removeJob } from "./routes/jobs.ts";
import { branch, refine } from "./routes/kin.ts";
import { picture } from "./routes/pictures.ts";
import { preview } from "./routes/preview.ts";
import { openApi, reference } from "./routes/reference.ts";
import type { App } from "./settings.ts";

export { Claim } from "./claim/claim.ts";
export { Job } from "./job/job.ts";
export { Pool } from "./pool/pool.ts";
export type { Env } from "./settings.ts";

const app = new Hono<App>({ getPath: ({ url }) => tidyPath(url) });

app.use(requestId({ limitLength: 64 }), async (c, next) => {
	await next();
	c.res.headers.set("x-request-id", c.var.requestId);
});
app.use(
	secureHeaders({
		contentSecurityPolicy: { defaultSrc: ["'none'"], styleSrc: [NONCE], frameAncestors: ["'none'"] },
		// Pictures are shown on other sites' pages: that is what their addresses are for.
		crossOriginResourcePolicy: "cross-origin",
		xFrameOptions: "DENY",
		// Whether a whole domain speaks HTTPS alone is its operator's to say.
		strictTransportSecurity: false,
	}),
);
app.use(withinLimits);

// Open to every origin: the API knows no cookies, so a foreign page can do nothing here that its reader could not.
const open = cors({
	origin: "*",
	allowMethods: ["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
	exposeHeaders: [
		"location",
		"firstlight-policy",
		"x-request-id",
		"retry-after",
		"x-should-retry",
		"warning",
		"server-timing",
	],
	maxAge: 86_400,
});
const timed = timing({ crossOrigin: true });
/** For what no picture is waited for. */
const soon = timeout(10_000, new HTTPException(504, { message: "The edge took too long to answer. Try again." }));

for (const path of ["/v1/*", "/healthz", "/openapi.json"]) app.use(path, open);
app.use("/v1/images/*", timed);
for (const path of ["/v1/jobs/:job", "/v1/models", "/v1/models/:model", "/v1/policies", "/healthz"])
	app.use(path, soon);

const routes: readonly [method: "GET" | "POST" | "DELETE", path: string, handler: Handler<App>][] = [
	["GET", "/v1/images/preview", preview],
	["POST", "/v1/images/generations", generations],
	["POST", "/v1/jobs", createJobs],
	["GET", "/v1/jobs/:job", job],
	["DELETE", "/v1/jobs/:job", removeJob],
	["GET", "/v1/jobs/:job/events", jobEvents],
	["GET", "/v1/jobs/:job/image", picture],
	["POST", "/v1/jobs/:job/refine", refine],
	["POST", "/v1/jobs/:job/branch", branch],
	["GET", "/v1/models", models],
	["GET", "/v1/models/:model", model],
	["GET", "/v1/models/:model/files/:file", modelFile],
	["GET", "/v1/policies", policyList],
	["GET", "/healthz", health],
	["GET", "/openapi.json", openApi],
	["GET", "/docs", reference],
	["GET", CONNECT_PATH, connect],
	["POST", LOADING_PATH, loading],
	["POST", "/internal/jobs/:job/events", deliver],
];
for (const [method, path, handler] of routes) app.on(method, path, handler);
for (const [, path] of routes) {
	const methods = routes.flatMap((route) => (route[1] !== path ? [] : route[0] === "GET" ? ["GET", "HEAD"] : route[0]));
	const allow = [...methods, "OPTIONS"].join(", ");
	app.all(path, (c) => {
		if (c.req.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
		throw new ApiError(405, "method_not_allowed", `${path} takes ${allow}, not ${c.req.method}.`, {
			headers: { allow },
		});
	});
}

app.notFound((c: Context<App>) => {
	const path = c.req.path.slice(0, 200);
	const meant = nearestPath(
		path,
		routes.map(([, path]) => path),
	);
	return new ApiError(
		404,
		"not_found",
		`There is nothing at ${path}. ${meant ? `Did you mean ${meant}?` : "/docs lists the routes."}`,
	).toResponse();
});
app.onError((error, c) => asApiError(error, c.var.requestId).toResponse());

export default app;
