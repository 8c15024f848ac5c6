import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { findModel } from "../../open.ts";
import { tokenizerJson } from "./tokenizer-json.ts";

const dir = await mkdtemp(join(tmpdir(), "firstlight-tokenizer-"));
afterAll(() => rm(dir, { recursive: true }));
const path = join(dir, "tokenizer.json");
const tiny = await readFile(join(findModel("tiny"), "tokenizer.json"));

it("takes a tokenizer.json as it is, where the encoder has all of its ids", async () => {
	await writeFile(path, tiny);
	const { vocab } = (JSON.parse(`${tiny}`) as { model: { vocab: Record<string, number> } }).model;
	const largest = Math.max(...Object.values(vocab));
	expect(Buffer.from(await tokenizerJson(path, largest + 1)).equals(tiny)).toBe(true);
	await expect(tokenizerJson(path, largest)).rejects.toThrow(`has ids up to ${largest}; the text encoder knows`);
});

it.each([
	["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"],
	["nothing", ""],
	["a web page", "<!doctype html><title>Sign in</title>"],
	["its configuration", '{"tokenizer_class": "T5Tokenizer", "model_max_length": 512}'],
	["a vocabulary alone", '{"a</w>": 0, "b</w>": 1}'],
])("refuses %s in a tokenizer's place", async (_, text) => {
	await writeFile(path, text);
	await expect(tokenizerJson(path)).rejects.toMatchObject({
		name: "ModelFormatError",
		message: expect.stringContaining("tokenizer.json"),
	});
});
