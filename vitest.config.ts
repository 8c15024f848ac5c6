import { defineConfig } from "vitest/config";

const common = { pool: "forks" as const, testTimeout: 120_000, hookTimeout: 120_000 };
/** Whole processes with deadlines, and a slope of memory: each file alone on the machine. */
const ALONE = ["test/e2e/**/*.test.ts", "infra/soak/**/*.test.ts"];

export default defineConfig({
	test: {
		projects: [
			{
				test: {
					...common,
					name: "parts",
					include: [
						"kernels/**/*.test.ts",
						"model-shards/**/*.test.ts",
						"worker/**/*.test.ts",
						"infra/**/*.test.ts",
						"test/**/*.test.ts",
					],
					exclude: [...ALONE, "test/edge/**", "test/idle/**"],
					// A software adapter keeps both cores busy only while it runs, not while it compiles.
					maxWorkers: 2,
					sequence: { groupOrder: 0 },
				},
			},
			{ test: { ...common, name: "whole", include: ALONE, fileParallelism: false, sequence: { groupOrder: 1 } } },
		],
	},
});
