/** Kills at every scale of every policy, for some minutes: `vitest run --config test/e2e/kills/vitest.config.ts`. */
import { defineConfig } from "vitest/config";

export default defineConfig({
	test: { name: "kills", include: ["test/e2e/kills/*.test.ts"], testTimeout: 600_000, hookTimeout: 120_000 },
});
