import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { POLICIES_FILE } from "../../model-shards/format/policies.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { writeTrades } from "./trades.ts";

let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-trades-"));
	for (const file of ["manifest.json", "tokenizer.json", POLICIES_FILE])
		await cp(join(findModel("tiny"), file), join(dir, file));
});
afterEach(() => rm(dir, { recursive: true }));

const trade = { score: 0.5, delta: -0.1, lower: -0.2, speedup: 1.5, prompts: 120 };
const trades = { stagevar: { ...trade, transformer: 2, adapter: "an adapter" } };

it("a model's info has the trades that were written, and its calibration as before", async () => {
	const { info, digest } = await openModelFolder(dir);
	expect(info.trades).toEqual({});
	await writeTrades(join(dir, POLICIES_FILE), digest, { gone: trades.stagevar });
	await writeTrades(join(dir, POLICIES_FILE), digest, trades);
	expect((await openModelFolder(dir)).info).toEqual({ ...info, trades });
});

it("a file is made where there is none, and one of another model is begun anew", async () => {
	const { digest } = await openModelFolder(dir);
	const path = join(dir, "other.json");
	await writeTrades(path, `sha256:${"0".repeat(64)}`, { gone: trades.stagevar });
	await writeTrades(path, digest, trades);
	expect(JSON.parse(await readFile(path, "utf8"))).toEqual({
		format: "firstlight-policies",
		version: 2,
		model: digest,
		calibration: {},
		trades,
	});
});
