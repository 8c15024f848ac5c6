/** Faults at every scale of every policy, and five hundred pictures under kills: some minutes, `npm run test:kills`. */
import { defineConfig } from "vitest/config";

export default defineConfig({
	test: {
		name: "kills",
		include: ["test/e2e/kills/*.test.ts"],
		testTimeout: 600_000,
		hookTimeout: 120_000,
		fileParallelism: false,
	},
});
