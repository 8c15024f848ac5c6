import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const common = { pool: "forks" as const, testTimeout: 120_000, hookTimeout: 120_000 };
/** Whole processes with deadlines: each file alone on the machine. */
const ALONE = ["test/e2e/*.test.ts"];
/** What is only worth its time now and then: `npm run test:long`. */
const NOW_AND_THEN = ["{infra,kernels,worker,test}/**/*.long.test.ts"];

/** Begun first, so that none is left to run alone at the end; what takes longest on one core, Deno, in front. */
const LONG = ["golden/deno", "golden/bits", "golden/reference", "cli/json", "engine/families/", "package/package"];

class LongestFirst extends BaseSequencer {
	override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
		const place = ({ moduleId }: TestSpecification) => {
			const at = LONG.findIndex((name) => moduleId.includes(name));
			return at < 0 ? LONG.length : at;
		};
		return (await super.sort(files)).sort((a, b) => place(a) - place(b));
	}
}

export default defineConfig({
	test: {
		sequence: { sequencer: LongestFirst },
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
					exclude: [...ALONE, ...NOW_AND_THEN, "test/e2e/**", "test/edge/**", "test/idle/**"],
					// A software adapter keeps both cores busy only while it runs, not while it compiles.
					maxWorkers: 3,
					sequence: { groupOrder: 0 },
				},
			},
			{ test: { ...common, name: "long", include: NOW_AND_THEN, fileParallelism: false, sequence: { groupOrder: 2 } } },
			{ test: { ...common, name: "whole", include: ALONE, fileParallelism: false, sequence: { groupOrder: 1 } } },
		],
	},
});
