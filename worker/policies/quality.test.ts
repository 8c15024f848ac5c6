import { expect, it } from "vitest";
import type { ModelInfo } from "../protocol/model-info.ts";
import { policyOfQuality, type Quality } from "./quality.ts";
import { measured, TRADES } from "./testing/trades.ts";

const chosen = (model: ModelInfo, schedule?: string) =>
	(["high", "medium", "low"] as Quality[]).map((quality) => policyOfQuality(quality, model, schedule));

it.each<[string, Record<string, [number, number]>, [string, string, string]]>([
	["nothing was measured", {}, ["exact", "exact", "exact"]],
	["exact alone was measured", { exact: [0, 1] }, ["exact", "exact", "exact"]],
	["none loses as little as .01", TRADES.emoji, ["exact", "stagevar-auto", "stagevar-auto"]],
	[
		"each has its own",
		{ switti: [-0.004, 1.2], "stagevar-auto": [-0.01, 1.9], sparsevar: [-0.05, 2.5], stagevar: [-0.4, 9] },
		["exact", "stagevar-auto", "sparsevar"],
	],
	["a difference of scores is a hair off", { switti: [0.89 - 0.9, 1.5] }, ["exact", "switti", "switti"]],
	["one gains no speed", { diverse: [0.02, 1], switti: [-0.02, 0.98] }, ["exact", "diverse", "diverse"]],
	["all are slower and worse than exact", { switti: [-0.005, 0.99], fastvar: [0, 0.5] }, ["exact", "exact", "exact"]],
	[
		"one is beaten in score and speed",
		{ switti: [-0.01, 1.5], fastvar: [-0.005, 1.6] },
		["exact", "fastvar", "fastvar"],
	],
	["no policy has the name any more", { "was-once": [-0.001, 3], switti: [-0.02, 2] }, ["exact", "switti", "switti"]],
	["one has a former name", { "stagevar-skip": [-0.01, 3] }, ["exact", "stagevar-released", "stagevar-released"]],
	["every one loses much", { fastvar: [-0.2, 2], stagevar: [-0.6, 3] }, ["exact", "fastvar", "fastvar"]],
])("where %s", (_, trades, expected) => {
	expect(chosen(measured(trades))).toEqual(expected);
});

it("a schedule that was not calibrated is drawn exactly", () => {
	const trades = { stagevar: [-0.005, 2] } as Record<string, [number, number]>;
	expect(chosen(measured(trades))).toEqual(["exact", "stagevar", "stagevar"]);
	expect(chosen(measured(trades), "wide")).toEqual(["exact", "exact", "exact"]);
});

it("whatever was measured: none chosen is beaten by another, and medium loses no more than low", () => {
	const names = ["stagevar", "stagevar-released", "fastvar", "sparsevar", "skipvar", "switti", "stagevar-auto"];
	let state = 1;
	const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
	for (let round = 0; round < 500; round++) {
		const trades: Record<string, [number, number]> = { exact: [0, 1] };
		for (const name of names.filter(() => random() < 0.6)) trades[name] = [(random() - 0.9) * 0.1, 0.8 + 2 * random()];
		const [, medium, low] = chosen(measured(trades));
		for (const name of [medium, low])
			for (const [delta, speedup] of Object.values(trades))
				expect(delta > trades[name][0] && speedup > trades[name][1]).toBe(false);
		expect(trades[medium][0]).toBeGreaterThanOrEqual(trades[low][0]);
	}
});
