import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findModel, openModelFolder } from "./folder.ts";
import { writeTrades } from "./policies-file.ts";

let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-policies-"));
	for (const file of ["manifest.json", "tokenizer.json"]) await cp(join(findModel("tiny"), file), join(dir, file));
});
afterEach(() => rm(dir, { recursive: true }));

const trades = { stagevar: { score: 0.5, delta: -0.1, lower: -0.2, speedup: 1.5, prompts: 120 } };

it("a model's info has the trades that were measured, and none before", async () => {
	const { info, digest } = await openModelFolder(dir);
	expect(info.trades).toBeUndefined();
	writeTrades(dir, digest, trades);
	expect((await openModelFolder(dir)).info).toEqual({ ...info, trades });
});

it("writing keeps what others put there and replaces the trades", async () => {
	const { digest } = await openModelFolder(dir);
	await writeFile(join(dir, "policies.json"), JSON.stringify({ model: digest, other: [1], trades: { gone: trades.stagevar } }));
	writeTrades(dir, digest, trades);
	expect(JSON.parse(await readFile(join(dir, "policies.json"), "utf8"))).toEqual({ model: digest, other: [1], trades });
});

it.each([
	["of another model", JSON.stringify({ model: `sha256:${"0".repeat(64)}` }), /measured on model sha256:0000/],
	["that is no JSON", "{", /not JSON/],
	["with impossible scores", `{"model": "DIGEST", "trades": {"stagevar": {"score": 2, "delta": 0, "lower": 0, "speedup": 1, "prompts": 1}}}`, /score/],
])("a file %s is refused with what to do", async (_, text, reason) => {
	const { digest } = await openModelFolder(dir);
	await writeFile(join(dir, "policies.json"), text.replace("DIGEST", digest));
	await expect(openModelFolder(dir)).rejects.toThrow(reason);
	await expect(openModelFolder(dir)).rejects.toThrow(/Delete it/);
});
