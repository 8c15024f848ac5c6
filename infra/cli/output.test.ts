import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { OutputFile, StagedFolder } from "./output.ts";

const dir = await mkdtemp(join(tmpdir(), "output-"));
afterAll(() => rm(dir, { recursive: true }));

it("what a killed process of our number left half written is in nobody's way", async () => {
	const left = async (name: string) => {
		await mkdir(join(dir, name));
		await writeFile(join(dir, name, "shard-000.bin"), "half");
	};
	await left(`.files.${process.pid}.part`);
	{
		using staged = await StagedFolder.at("--out", dir);
		await writeFile(join(staged.path, "manifest.json"), "whole");
		staged.commit("manifest.json");
	}
	await left(`.picture.${process.pid}.part.png`);
	await (await OutputFile.at("--out", join(dir, "picture.png"))).write("whole");
	expect((await readdir(dir)).sort()).toEqual(["manifest.json", "picture.png"]);
	expect(await readFile(join(dir, "picture.png"), "utf8")).toBe("whole");
});
