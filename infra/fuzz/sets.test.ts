/** The engine against the second implementation, on kept sets of it: `npm run fuzz:models` makes others. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { temporaryFolder } from "../temporary.ts";
import { verifySet } from "../verify/verify.ts";
import { writeDrawn } from "./drawn.ts";

const sets = join(import.meta.dirname, "..", "..", "test", "reference", "drawn");
const gpu = await sharedGpu();

describe("random models within what the official classes take", () => {
	it.each(readdirSync(sets))("%s", async (name) => {
		using whole = await temporaryFolder("firstlight-set-");
		await writeDrawn(join(sets, name), whole.path);
		const before = gpu.bytes;
		let count = 0;
		for await (const { comparisons } of verifySet(gpu, whole.path)) {
			count += comparisons.length;
			expect(comparisons.filter(({ ok }) => !ok)).toEqual([]);
		}
		expect(count).toBeGreaterThan(8);
		expect(gpu.bytes).toBe(before);
	});
});
