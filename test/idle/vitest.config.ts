/** A minute in which nothing happens: `npm run test:idle`, on a machine with nothing else to do. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
	root: fileURLToPath(new URL("../..", import.meta.url)),
	test: {
		name: "idle",
		pool: "forks",
		include: ["test/idle/**/*.test.ts"],
		testTimeout: 300_000,
		hookTimeout: 120_000,
	},
});
