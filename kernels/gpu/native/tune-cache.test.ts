import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { diskTuning } from "./tune-cache.ts";

let folder: string;
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "firstlight-tuning-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("holds what was written, for this adapter and version; damaged files count for nothing and are made again", () => {
	const store = diskTuning(folder);
	const tuning = { "matmul 4x4 m1": "tile 1x4" };
	expect(store.read("an adapter", 2)).toEqual({});
	store.write("an adapter", 2, tuning);
	expect(store.read("an adapter", 2)).toEqual(tuning);
	expect(diskTuning(folder).read("an adapter", 2)).toEqual(tuning);
	expect([store.read("another", 2), store.read("an adapter", 3)]).toEqual([{}, {}]);
	const [file] = readdirSync(folder);
	const sound = JSON.parse(readFileSync(join(folder, file), "utf8"));
	for (const damaged of [
		"",
		"{",
		"[]",
		JSON.stringify({ ...sound, tuning: { a: 1 } }),
		JSON.stringify({ ...sound, adapter: "another" }),
		JSON.stringify({ ...sound, kernels: 3 }),
		" ".repeat((1 << 20) + 1),
	]) {
		writeFileSync(join(folder, file), damaged);
		expect(store.read("an adapter", 2)).toEqual({});
	}
	store.write("an adapter", 2, tuning);
	expect(store.read("an adapter", 2)).toEqual(tuning);
	expect(readdirSync(folder)).toEqual([file]);
});

test("a folder that cannot be written costs a warning", () => {
	const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
	const file = join(folder, "a file");
	writeFileSync(file, "");
	const store = diskTuning(join(file, "below"));
	store.write("an adapter", 2, {});
	expect(warn).toHaveBeenCalledWith(expect.stringMatching(/could not be kept in .*FIRSTLIGHT_CACHE/));
	expect(store.read("an adapter", 2)).toEqual({});
	vi.restoreAllMocks();
});
