/** GET /metrics: what the pools have seen, for Prometheus. */
import type { Context } from "hono";
import { poolNamed } from "../objects.ts";
import { metricsText } from "../pool/tally.ts";
import { type App, settingsOf } from "../settings.ts";

export async function metrics(c: Context<App>): Promise<Response> {
	const pools = settingsOf(c.env).POOLS.map(({ name }) => poolNamed(c.env, name).metrics());
	return c.text(metricsText(await Promise.all(pools)), 200, {
		"content-type": "text/plain; version=0.0.4; charset=utf-8",
		"cache-control": "no-store",
	});
}
