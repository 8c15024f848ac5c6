/** GET /metrics: what the pool has seen, for Prometheus. */
import type { Context } from "hono";
import { poolNamed, poolNameOf } from "../objects.ts";
import type { App } from "../settings.ts";

export async function metrics(c: Context<App>): Promise<Response> {
	const text = await poolNamed(c.env, poolNameOf()).metrics();
	return c.text(text, 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" });
}
