/** SwiftShader's folder among the temporary files: what others may have done to it. */
import { chmod, mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { archiveOfChromium, unpackSwiftShader } from "./swiftshader.ts";

const before = process.env.TMPDIR;
let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-unpacked-"));
	process.env.TMPDIR = dir;
});
afterAll(async () => {
	if (before === undefined) delete process.env.TMPDIR;
	else process.env.TMPDIR = before;
	await rm(dir, { recursive: true });
});

const archive = archiveOfChromium() as string;

it("is unpacked once, again where files of it are gone, and never taken from whoever else may write it", async () => {
	const [folder, same] = await Promise.all([unpackSwiftShader(archive), unpackSwiftShader(archive)]);
	expect(same).toBe(folder);
	expect(await readdir(dir)).toHaveLength(1);
	const files = await readdir(folder);
	const { ino } = await stat(folder);
	expect(await unpackSwiftShader(archive)).toBe(folder);
	expect((await stat(folder)).ino).toBe(ino);

	await rm(join(folder, "libvulkan.so.1"));
	await unpackSwiftShader(archive);
	expect(await readdir(folder)).toEqual(files);

	await chmod(folder, 0o777);
	await expect(unpackSwiftShader(archive)).rejects.toThrow(/no folder of this user alone.* set TMPDIR/);
	await rm(folder, { recursive: true });
	await mkdir(folder, { mode: 0o700 });
	await unpackSwiftShader(archive);
	expect(await readdir(folder)).toEqual(files);
	expect(await readdir(dir)).toHaveLength(1);
});
