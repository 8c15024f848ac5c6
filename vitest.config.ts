import { defineConfig } from "vitest/config";

export default defineConfig({
	test: {
		include: ["kernels/**/*.test.ts", "model-shards/**/*.test.ts", "worker/**/*.test.ts", "infra/**/*.test.ts", "test/**/*.test.ts"],
		exclude: ["test/edge/**"],
		// A software adapter keeps every core busy: files side by side only make each other slow.
		pool: "forks",
		fileParallelism: false,
		testTimeout: 120_000,
		hookTimeout: 120_000,
	},
});
