/** The edge's tests, in the real Workers runtime: `vitest run --config test/edge/vitest.config.ts`. */
import { fileURLToPath } from "node:url";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const root = fileURLToPath(new URL("../..", import.meta.url));

export default defineConfig({
	root,
	plugins: [
		cloudflareTest({
			wrangler: { configPath: `${root}/wrangler.toml` },
			miniflare: {
				// The production settings, only quicker.
				bindings: {
					ORDERS: process.env.ORDERS ?? "12",
					WORKER_SECRET: "test-secret-0123456789",
					ADMIN_SECRET: "admin-secret-0123456789",
					// As on this machine alone; what is tested of keys asks for them.
					API_KEYS: "none",
					HEARTBEAT_SECONDS: 0.3,
					REJOIN_SECONDS: 0.5,
					STALL_SECONDS: 2,
					NUMERICS_SECONDS: 0.3,
					STATUS_SECONDS: 0,
					READER_GRACE_SECONDS: 0.6,
					JOB_DEADLINE_SECONDS: 4,
					JOB_KEEP_SECONDS: 2,
					NO_WORKER_SECONDS: 0.5,
					COMMENT_SECONDS: 0.2,
					QUEUE_LIMIT: 4,
					RETURN_SECONDS: 0.5,
					WEBHOOK_LOCAL: true,
					WEBHOOK_RETRY_SECONDS: 0.05,
				},
			},
		}),
	],
	test: {
		name: "edge",
		globalSetup: ["test/edge/receiver.ts", "test/edge/moderation-server.ts"],
		include: ["test/edge/*.test.ts"],
		// They wait on timers for half of their time.
		maxWorkers: 2,
		testTimeout: 15_000,
		silent: "passed-only",
	},
});
