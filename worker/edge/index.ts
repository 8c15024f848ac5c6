/**
 * The edge: routes for people, pages and clients under /v1, for GPU workers under /internal. The page itself is an
 * asset.
 */
import { type Context, type Handler, Hono, type MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { requestId } from "hono/request-id";
import { NONCE, secureHeaders } from "hono/secure-headers";
import { timeout } from "hono/timeout";
import { timing } from "hono/timing";
import { CONNECT_PATH, LOADING_PATH, REGISTER_PATH } from "../protocol/messages.ts";
import { LIMIT_HEADERS } from "./admission/headers.ts";
import { type Access, admit } from "./auth/caller.ts";
import { readWhole } from "./http/body.ts";
import { ApiError, asApiError } from "./http/errors.ts";
import { nearestPath, tidyPath, withinLimits } from "./http/request.ts";
import { CLIENT_HINTS } from "./job/order.ts";
import { health, model, models, policyList } from "./routes/catalog.ts";
import { jobEvents } from "./routes/events.ts";
import { modelFile } from "./routes/files.ts";
import { generations } from "./routes/generations.ts";
import { connect, deliver, loading } from "./routes/internal.ts";
import { createJobs, job, removeJob } from "./routes/jobs.ts";
import { listKeys, makeTicket, mintKey, revokeKey } from "./routes/keys.ts";
import { branch, refine } from "./routes/kin.ts";
import { metrics } from "./routes/metrics.ts";
import { picture } from "./routes/pictures.ts";
import { preview } from "./routes/preview.ts";
import { openApi, reference } from "./routes/reference.ts";
import { admitWorker, listWorkers, register, revokeWorker } from "./routes/workers.ts";
import { type App, settingsOf } from "./settings.ts";

export { Account } from "./admission/account.ts";
export { Keyring } from "./admission/keyring.ts";
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
app.use(readWhole, withinLimits);

// The API knows no cookies, so a foreign page can do nothing here that its reader could not.
const open = cors({
	origin: (origin, c: Context<App>) => {
		const { CORS_ORIGINS } = settingsOf(c.env);
		return CORS_ORIGINS.includes("*") ? "*" : CORS_ORIGINS.includes(origin) ? origin : null;
	},
	allowMethods: ["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
	exposeHeaders: [
		"location",
		"firstlight-policy",
		"x-request-id",
		"retry-after",
		"x-should-retry",
		"warning",
		"server-timing",
		"idempotent-replayed",
		...LIMIT_HEADERS,
	],
	maxAge: 86_400,
});
/** A browser says more with its next request, and a cache keeps apart what was made by it. */
const hinted: MiddlewareHandler<App> = async (c, next) => {
	await next();
	c.res.headers.set("accept-ch", CLIENT_HINTS);
	c.res.headers.append("vary", CLIENT_HINTS);
};
const timed = timing({ crossOrigin: true });
/** For what no picture is waited for. */
const soon = timeout(10_000, new HTTPException(504, { message: "The edge took too long to answer. Try again." }));

for (const path of ["/v1/*", "/healthz", "/openapi.json"]) app.use(path, open);
app.use("/v1/images/*", timed);
app.use("/v1/images/preview", hinted);
for (const path of ["/v1/jobs/:job", "/v1/models", "/v1/models/:model", "/v1/policies", "/healthz"])
	app.use(path, soon);

const METHODS = { GET: ["GET", "HEAD"], POST: ["POST"], DELETE: ["DELETE"] } as const;
type Method = keyof typeof METHODS;

/** Every route says whom it lets in. Those that are open have secrets of their own, or nothing to hide. */
const routes: readonly [method: Method, path: string, access: Access, handler: Handler<App>][] = [
	["GET", "/v1/images/preview", "picture", preview],
	["POST", "/v1/images/generations", "picture", generations],
	["POST", "/v1/jobs", "picture", createJobs],
	["GET", "/v1/jobs/:job", "generate", job],
	["DELETE", "/v1/jobs/:job", "generate", removeJob],
	["GET", "/v1/jobs/:job/events", "generate", jobEvents],
	["GET", "/v1/jobs/:job/image", "open", picture],
	["POST", "/v1/jobs/:job/refine", "picture", refine],
	["POST", "/v1/jobs/:job/branch", "picture", branch],
	["GET", "/v1/models", "read", models],
	["GET", "/v1/models/:model", "read", model],
	["GET", "/v1/models/:model/files/:file", "open", modelFile],
	["GET", "/v1/policies", "read", policyList],
	["POST", "/v1/tickets", "known", makeTicket],
	["POST", "/v1/admin/keys", "admin", mintKey],
	["GET", "/v1/admin/keys", "admin", listKeys],
	["DELETE", "/v1/admin/keys/:key", "admin", revokeKey],
	["GET", "/v1/admin/workers", "admin", listWorkers],
	["DELETE", "/v1/admin/workers/:worker", "admin", revokeWorker],
	["POST", "/v1/admin/workers/:worker", "admin", admitWorker],
	["GET", "/healthz", "open", health],
	["GET", "/metrics", "metrics", metrics],
	["GET", "/openapi.json", "open", openApi],
	["GET", "/docs", "open", reference],
	["POST", REGISTER_PATH, "open", register],
	["GET", CONNECT_PATH, "open", connect],
	["POST", LOADING_PATH, "open", loading],
	["POST", "/internal/jobs/:job/events", "open", deliver],
];
for (const [method, path, access, handler] of routes) app.on(method, path, admit(access), handler);
for (const path of new Set(routes.map(([, path]) => path))) {
	const methods = routes.filter(([, other]) => other === path).flatMap(([method]) => METHODS[method]);
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
