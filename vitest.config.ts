import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const common = {
	pool: "forks" as const,
	// Of what hangs: the longest tests take over a minute of a slow machine.
	testTimeout: 300_000,
	hookTimeout: 300_000,
	// What Node made of the sources, kept: each process that a test starts would strip and compile them again.
	env: { NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules", ".cache", "node") },
};
/** Whole processes with deadlines: two files at a time, since most of what they do is wait for one another. */
const WHOLE = ["test/e2e/*.test.ts"];
/** What is only worth its time now and then: `npm run test:long`. */
const NOW_AND_THEN = ["{infra,kernels,model-shards,worker,test}/**/*.long.test.ts"];
/** What starts processes, or looks at its own: a process a file. */
const APART = [
	"infra/{cli,deploy,package}/**/*.test.ts",
	"kernels/gpu/native/*.test.ts",
	"kernels/browser.test.ts",
	"model-shards/import/streaming*.test.ts",
	"test/golden/deno.test.ts",
	"worker/engine/{out-of-memory,shapes}.test.ts",
];

/** Begun first, so that none is left to run alone at the end; what takes longest on one core, Deno, in front. */
const LONG = [
	"e2e/page",
	"golden/deno",
	"package/package",
	"cli/",
	"golden/bits.test",
	"golden/reference",
	"engine/families/",
];

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
					name: "apart",
					include: APART,
					exclude: NOW_AND_THEN,
					// A software adapter keeps both cores busy only while it runs, not while it compiles.
					maxWorkers: 3,
					sequence: { groupOrder: 0 },
				},
			},
			{
				test: {
					...common,
					name: "parts",
					include: ["{infra,kernels,model-shards,test,worker}/**/*.test.ts"],
					exclude: [...APART, ...WHOLE, ...NOW_AND_THEN, "test/e2e/**", "test/edge/**", "test/idle/**"],
					// Two processes for all files, with a device each (sharedGpu): a kernel is compiled once, or twice.
					isolate: false,
					maxWorkers: 2,
					sequence: { groupOrder: 1 },
				},
			},
			{ test: { ...common, name: "whole", include: WHOLE, maxWorkers: 2, sequence: { groupOrder: 2 } } },
			{ test: { ...common, name: "long", include: NOW_AND_THEN, fileParallelism: false, sequence: { groupOrder: 3 } } },
		],
	},
});
