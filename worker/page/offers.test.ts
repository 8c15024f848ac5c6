import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { findModel } from "../../model-shards/open.ts";
import { policies } from "../policies/index.ts";
import type { ModelInfo, Trade } from "../protocol/model-info.ts";
import { measuredOn, offersOf } from "./offers.ts";

const entries = (names: string[]) => names.map((name) => ({ name, title: name, models: { m: ["1:1"] } }));
const model = (trades?: Record<string, Pick<Trade, "score" | "delta" | "speedup">>) =>
	({ id: "m", trades }) as ModelInfo;
const words = (of: ModelInfo, names: string[]) =>
	offersOf(of, "1:1", entries(names)).map(({ word, policy }) => (word ? `${word} ${policy}` : policy));
const at = (score: number, speedup: number) => ({ score, delta: 0, speedup });

it("offers first what is worth its price, and nothing that another choice beats in both", () => {
	const trades = {
		exact: at(0.9, 1),
		slow: at(0.85, 0.9),
		good: at(0.86, 1.3),
		beaten: at(0.8, 1.25),
		quick: at(0.6, 1.6),
		broken: at(0.2, 2.5),
	};
	const names = Object.keys(trades);
	expect(words(model(trades), names)).toEqual([
		"Exact exact",
		"Balanced good",
		"Fast quick",
		"slow",
		"beaten",
		"broken",
	]);
	const beaten = offersOf(model(trades), "1:1", entries(names)).map(({ policy, beatenBy }) => [policy, beatenBy]);
	expect(beaten).toContainEqual(["beaten", "good"]);
	expect(beaten).toContainEqual(["slow", "exact"]);
	expect(beaten).toContainEqual(["broken", undefined]);
});

it("calls balanced only what was shown to be nearly as good as exact, and fast what is clearly faster", () => {
	const trades = {
		exact: at(0.9, 1),
		sure: { ...at(0.87, 2), lower: -0.05 },
		unsure: { ...at(0.86, 2.3), lower: -0.15 },
		quick: { ...at(0.8, 3), lower: -0.15 },
		quickest: { ...at(0.5, 3.5), lower: -0.45 },
	};
	expect(words(model(trades), Object.keys(trades)).slice(0, 3)).toEqual(["Exact exact", "Balanced sure", "Fast quick"]);
});

it.each(["emoji-128", "emoji-256"])("the figures of %s never put a beaten choice first", (name) => {
	const { trades } = JSON.parse(readFileSync(`${findModel(name)}/policies.json`, "utf8"));
	const offers = offersOf(model(trades), "1:1", entries(Object.keys(policies)));
	const first = offers.filter(({ word }) => word);
	expect(first[0].policy).toBe("exact");
	expect(first.map(({ word }) => word)).toEqual(["Exact", "Balanced", "Fast"]);
	expect(first[1].policy).toBe("stagevar-auto");
	// Exact is offered in any case.
	expect(first.slice(1).map(({ beatenBy }) => beatenBy)).toEqual([undefined, undefined]);
});

it("says where nothing was measured, and where it was measured elsewhere", () => {
	expect(words(model(), ["exact", "stagevar-auto", "stagevar"])).toEqual([
		"Exact exact",
		"Balanced stagevar-auto",
		"stagevar",
	]);
	expect(measuredOn(model(), [])).toMatch(/No policy was measured on m/);
	const measured = { ...at(0.9, 1), adapter: "A (LLVM 15)", prompts: 9 };
	expect(measuredOn(model({ exact: measured }), ["A (LLVM 15)"])).toMatch(/over 9 prompts on A\.$/);
	expect(measuredOn(model({ exact: measured }), ["B driver 5"])).toMatch(/on A; speeds differ on B, at work now\.$/);
});
