import { expect, it } from "vitest";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { benchLoading } from "./loading.ts";

it("reads all of a model twice, and loads it", async () => {
	const folder = await openModelFolder(findModel("tiny"));
	const { tensors } = folder.manifest;
	const seen: number[] = [];
	const report = await benchLoading(folder, "f16", { progress: (done, total) => seen.push(done / total) });
	expect(report.bytes).toBe(tensors.reduce((sum, { bytes }) => sum + bytes, 0));
	expect(report.device_bytes).toBeGreaterThan(report.bytes);
	expect(report.resident_peak).toBeGreaterThanOrEqual(report.resident_before);
	expect(seen).toEqual(seen.toSorted((a, b) => a - b));
	expect(seen.at(-1)).toBe(1);
});

it("ends where it is told to", async () => {
	const folder = await openModelFolder(findModel("tiny"));
	await expect(benchLoading(folder, "f32", { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow(
		"enough",
	);
});
