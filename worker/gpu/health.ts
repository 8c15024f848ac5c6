/** A worker's health port: /live, /ready and /metrics, for who watches over it. It asks for no secret. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { Metrics } from "./metrics.ts";
import { SettingsError } from "./settings.ts";

/** Throws SettingsError where the port cannot be had. */
export async function watchedAt(port: number, host: string): Promise<{ metrics: Metrics; server: Server }> {
	const metrics = new Metrics();
	const answers: Record<string, () => Promise<[status: number, type: string, text: string]>> = {
		// Whoever answers lives. A device that hangs ends the process by itself.
		"/live": async () => [200, "text/plain", "live\n"],
		"/ready": async () => (metrics.look?.ready() ? [200, "text/plain", "ready\n"] : [503, "text/plain", "not ready\n"]),
		"/metrics": async () => [200, metrics.registry.contentType, await metrics.registry.metrics()],
	};
	const server = createServer({ requestTimeout: 5000, maxHeaderSize: 8192 }, async (request, response) => {
		const path = request.url?.split("?", 1)[0] ?? "";
		const answer = Object.hasOwn(answers, path) && ["GET", "HEAD"].includes(request.method ?? "") && answers[path];
		const [status, type, text] = answer
			? await answer()
			: ([404, "text/plain", "There is /live, /ready, /metrics.\n"] as const);
		response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(text);
	});
	server.listen(port, host);
	await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
		throw new SettingsError(`HEALTH_PORT: ${host}, port ${port} cannot be listened at (${error.code}).`);
	});
	server.unref();
	return { metrics, server };
}
