/** GET /metrics: what the pools have seen, for Prometheus. */
import type { Context } from "hono";
import { poolNamed } from "../objects.ts";
import { exposition } from "../pool/tally.ts";
import { type App, settingsOf } from "../settings.ts";

export async function metrics(c: Context<App>): Promise<Response> {
	const { POOLS } = settingsOf(c.env);
	const lines = await Promise.all(
		POOLS.map(({ name }) => poolNamed(c.env, name).metrics(POOLS.length > 1 ? { pool: name } : {})),
	);
	const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8", "cache-control": "no-store" };
	return c.text(exposition(lines), 200, headers);
}
