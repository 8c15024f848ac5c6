import { join } from "node:path";
import { expect } from "vitest";
import { verifySet } from "../../infra/verify/verify.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";

const REFERENCE = join(import.meta.dirname, "..", "reference");

/** All runs of a reference set are within their bounds, and nothing of them stays on the device. */
export async function expectVerified(gpu: Gpu, set: string, runs: number, model?: string): Promise<void> {
	// By windows of 64 KiB the tables of a large model are more than one arena holds, and all arenas are used again.
	const held = () => gpu.bytes - gpu.arenaBytes;
	const before = held();
	let count = 0;
	for await (const { name, comparisons } of verifySet(gpu, join(REFERENCE, set), model)) {
		count++;
		expect(comparisons.length, name).toBeGreaterThan(5);
		expect(
			comparisons.filter(({ ok }) => !ok),
			name,
		).toEqual([]);
	}
	expect(count).toBe(runs);
	expect(held()).toBe(before);
}
