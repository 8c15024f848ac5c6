import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { hasLlvmpipe } from "./llvmpipe.ts";

it.each([
	["Mesa 25 of Debian 13", "lvp_icd.json", '{"ICD":{"api_version":"1.4.305","library_path":"l.so"}}', true],
	["by its processor's name", "lvp_icd.x86_64.json", '{ "ICD": { "api_version": "1.4.311" } }', true],
	["Mesa 22 of Debian 12", "lvp_icd.x86_64.json", '{"ICD": {"api_version": "1.3.230"}}', false],
	["another driver", "radeon_icd.x86_64.json", '{"ICD": {"api_version": "1.4.305"}}', false],
	["no manifest", "lvp_icd.json", "", false],
])("%s", async (_, name, text, is) => {
	const folder = await mkdtemp(join(tmpdir(), "firstlight-icd-"));
	await writeFile(join(folder, name), text);
	expect(hasLlvmpipe([join(folder, "none"), folder])).toBe(is);
	await rm(folder, { recursive: true });
});
