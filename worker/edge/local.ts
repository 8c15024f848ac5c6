/**
 * The Worker as this machine serves it. Elsewhere what asks for a file of the page is told from the rest before it gets
 * to the Worker; Miniflare does that with a Worker of its own, which costs every request and every event a way of a
 * millisecond. Here the edge's own paths go straight to it.
 */
import edge from "./index.ts";
import type { Env } from "./settings.ts";

export * from "./index.ts";
export default edge;

/**
 * Where nothing of the page lies. What is asked again and again (by a probe, a collector of metrics) is among it: the
 * Worker of files keeps something of every look for one until its garbage is collected, which it hardly ever is.
 */
const OWN = /^\/(v1\/|internal\/|healthz$|metrics$)/;

interface Local extends Env {
	/** The page's files. */
	ASSETS: { fetch(request: Request): Promise<Response> };
}

export const local = {
	async fetch(request: Request, env: Local, context: Parameters<typeof edge.fetch>[2]): Promise<Response> {
		const asks = request.method === "GET" || request.method === "HEAD";
		if (asks && !OWN.test(new URL(request.url).pathname)) {
			const file = await env.ASSETS.fetch(request);
			if (file.status !== 404) return file;
		}
		return edge.fetch(request, env, context);
	},
};
