import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { cacheFolder, cacheLimit } from "./cache-settings.ts";

test("the cache lies where the environment says; an empty variable is an unset one", () => {
	expect(cacheFolder({ FIRSTLIGHT_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
	expect(cacheFolder({ XDG_CACHE_HOME: "/b" })).toBe("/b/firstlight");
	expect(cacheFolder({ FIRSTLIGHT_CACHE: "", XDG_CACHE_HOME: "/b" })).toBe("/b/firstlight");
	expect(cacheFolder({ FIRSTLIGHT_CACHE: "", XDG_CACHE_HOME: "" })).toBe(cacheFolder({}));
	expect(cacheFolder({})).toMatch(/\.cache\/firstlight$/);
});

test("where the usual folder cannot be made, it lies in the state's; a named one stays the named one", () => {
	// No folder can be made below a file.
	const file = join(mkdtempSync(join(tmpdir(), "cache-")), "file");
	writeFileSync(file, "");
	expect(cacheFolder({ XDG_CACHE_HOME: file, STATE_DIR: "/state" })).toBe("/state/cache");
	expect(cacheFolder({ XDG_CACHE_HOME: file })).toBe(join(file, "firstlight"));
	expect(cacheFolder({ XDG_CACHE_HOME: join(dirname(file), "new"), STATE_DIR: "/state" })).toMatch(/new\/firstlight$/);
	expect(cacheFolder({ FIRSTLIGHT_CACHE: file, STATE_DIR: "/state" })).toBe(file);
	rmSync(dirname(file), { recursive: true });
});

test("its limit is 20 GB unless another is named, 0 too; what is no number is refused by the variable's name", () => {
	expect([undefined, "", "0", "0.5", "1e3"].map((gigabytes) => cacheLimit({ FIRSTLIGHT_CACHE_GB: gigabytes }))).toEqual(
		[20e9, 20e9, 0, 5e8, 1e12],
	);
	for (const wrong of ["much", "-1", " ", "20 GB", "NaN"])
		expect(() => cacheLimit({ FIRSTLIGHT_CACHE_GB: wrong })).toThrow(
			`FIRSTLIGHT_CACHE_GB must be a number of gigabytes from 0 on, not "${wrong}".`,
		);
});
