/** The engine against the official code's recordings, on this machine's adapter, in Node. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { verifySet } from "../../infra/verify/verify.ts";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel } from "../../model-shards/open.ts";
import { SETS } from "./sets.ts";

const root = join(import.meta.dirname, "..", "..");
const reference = (name: string) => join(root, "test", "reference", name);

const gpu = await sharedGpu();

it.each<[name: string, runs: number, model?: string]>([...SETS, ["emoji-128", 3, findModel("emoji-128")]])(
	"every recorded tensor of %s is within its bound",
	async (name, runs, model) => {
		const before = gpu.bytes;
		let count = 0;
		for await (const { name: run, comparisons } of verifySet(gpu, reference(name), model)) {
			count++;
			expect(comparisons.length, run).toBeGreaterThan(5);
			expect(
				comparisons.filter(({ ok }) => !ok),
				run,
			).toEqual([]);
		}
		expect(count).toBe(runs);
		expect(gpu.bytes).toBe(before);
	},
);
