/** A request before its route: its path made tidy, its size held within limits, and what path may have been meant. */
import type { MiddlewareHandler } from "hono";
import { MAX_HEADER_CHARS, MAX_URL_CHARS } from "../../protocol/limits.ts";
import type { App } from "../settings.ts";
import { ApiError } from "./errors.ts";

/** The path of a URL, as clients write it who join a base and a path: slashes are doubled, or left at the end. */
export function tidyPath(url: string): string {
	const path = new URL(url).pathname.replace(/\/{2,}/g, "/");
	return path.length > 1 ? path.replace(/\/$/, "") : path;
}

/** The route that a path without its /v1, or with two of them, may have meant. */
export function nearestPath(path: string, routes: readonly string[]): string | undefined {
	const meant = `/v1${path.replace(/^(\/v1)+(?=\/)/, "")}`;
	if (meant === path) return undefined;
	const fits = (route: string) => new RegExp(`^${route.replace(/:[^/]+/g, "[^/]+")}$`).test(meant);
	return routes.some(fits) ? meant : undefined;
}

/** Where the reader is, as Cloudflare names continents; elsewhere nobody knows. */
export function continentOf(request: Request): string | undefined {
	const { cf } = request as Request & { cf?: { continent?: unknown } };
	return typeof cf?.continent === "string" ? cf.continent : undefined;
}

/** Refuses addresses and headers that are larger than any real client's. */
export const withinLimits: MiddlewareHandler<App> = async (c, next) => {
	if (c.req.url.length > MAX_URL_CHARS)
		throw new ApiError(
			414,
			"uri_too_long",
			`The address is longer than ${MAX_URL_CHARS} characters. Send the request to POST /v1/images/generations.`,
		);
	let chars = 0;
	for (const [name, value] of c.req.raw.headers) chars += name.length + value.length;
	if (chars > MAX_HEADER_CHARS)
		throw new ApiError(
			431,
			"headers_too_large",
			`The headers have more than ${MAX_HEADER_CHARS} characters. Send fewer or shorter ones.`,
		);
	await next();
};
