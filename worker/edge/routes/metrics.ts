/** GET /metrics: what the pools have seen, for Prometheus. */
import type { Context } from "hono";
import { answersOf } from "../pool/router.ts";
import { metricsText, type Seen } from "../pool/tally.ts";
import { type App, settingsOf } from "../settings.ts";

export async function metrics(c: Context<App>): Promise<Response> {
	const seen = await answersOf(c.env, (pool) => pool.metrics());
	const missing = settingsOf(c.env).POOLS.length - seen.length;
	const ours: Seen = { samples: [{ name: "firstlight_pools_missing", labels: {}, value: missing }], histograms: [] };
	return c.text(metricsText([ours, ...seen]), 200, {
		"content-type": "text/plain; version=0.0.4; charset=utf-8",
		"cache-control": "no-store",
	});
}
