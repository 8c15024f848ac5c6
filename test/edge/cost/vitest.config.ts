/** What pools of thousands of workers cost, in five minutes: `vitest run --config test/edge/cost/vitest.config.ts`. */
import { fileURLToPath } from "node:url";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const root = fileURLToPath(new URL("../../..", import.meta.url));

export default defineConfig({
	root,
	plugins: [
		cloudflareTest({
			wrangler: { configPath: `${root}/wrangler.toml` },
			miniflare: {
				bindings: {
					WORKER_SECRET: "test-secret-0123456789",
					// Nobody falls silent, nobody is missed, while it is measured.
					HEARTBEAT_SECONDS: 60,
					STALL_SECONDS: 3600,
					READER_GRACE_SECONDS: 600,
					JOB_DEADLINE_SECONDS: 3600,
					QUEUE_LIMIT: 10_000,
				},
			},
		}),
	],
	test: {
		name: "edge-cost",
		include: ["test/edge/cost/**/*.test.ts"],
		testTimeout: 400_000,
		fileParallelism: false,
		// Thousands of workers are admitted; the figures are what there is to read.
		onConsoleLog: (line) => !line.includes('"event":"'),
	},
});
