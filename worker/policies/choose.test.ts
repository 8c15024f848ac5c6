import { expect, it } from "vitest";
import { type Asked, choosePolicy, type Load } from "./choose.ts";
import { measured, TRADES } from "./testing/trades.ts";

/** Fastest first: each loses more than the one before it. */
const FRONT: Record<string, [number, number]> = {
	switti: [-0.004, 1.2],
	"stagevar-auto": [-0.01, 1.9],
	sparsevar: [-0.05, 2.5],
	stagevar: [-0.4, 9],
};
const IDLE: Load = { waiting: 0, slots: 2, filled: 0, waitMs: 0, exactMs: 1000 };

it.each<[string, Record<string, [number, number]>, Asked, Partial<Load>, string, string]>([
	["a policy that is named", FRONT, { policy: "exact", quality: "low", maxMs: 1 }, {}, "exact", "request"],
	["a policy that there is not is somebody else's to refuse", FRONT, { policy: "x" }, {}, "x", "request"],
	["nothing", FRONT, {}, {}, "stagevar-auto", "measured"],
	["auto by name", FRONT, { policy: "auto" }, {}, "stagevar-auto", "measured"],
	["nothing, of what was never measured", {}, {}, {}, "exact", "unmeasured"],
	["nothing, where what was measured loses too much", TRADES.emoji, {}, {}, "exact", "measured"],
	["high", FRONT, { quality: "high" }, {}, "exact", "quality-high"],
	["medium", FRONT, { quality: "medium" }, {}, "stagevar-auto", "quality-medium"],
	["low", FRONT, { quality: "low" }, {}, "sparsevar", "quality-low"],
	["Save-Data", FRONT, { saveData: "on" }, {}, "sparsevar", "save-data"],
	["Save-Data that is not on", FRONT, { saveData: "off" }, {}, "stagevar-auto", "measured"],
	["a slow network", FRONT, { ect: "3g" }, {}, "sparsevar", "ect-3g"],
	["a fast network", FRONT, { ect: "4g" }, {}, "stagevar-auto", "measured"],
	["hints, of what was never measured", {}, { saveData: "on", ect: "2g" }, {}, "exact", "unmeasured"],
	["hints beside a wish", FRONT, { quality: "high", saveData: "on" }, {}, "exact", "quality-high"],
	["nothing, while two wait for each slot", FRONT, {}, { waiting: 4 }, "sparsevar", "load"],
	["nothing, while fewer wait", FRONT, {}, { waiting: 3 }, "stagevar-auto", "measured"],
	["nothing, where half the queue is taken", FRONT, {}, { filled: 0.5 }, "sparsevar", "load"],
	["nothing, under load, and all that is faster spoils it", TRADES.emoji, {}, { waiting: 9 }, "stagevar-auto", "load"],
	["a wish, under load", FRONT, { quality: "high" }, { waiting: 9, filled: 1 }, "exact", "quality-high"],
	["a policy, under load", FRONT, { policy: "exact" }, { waiting: 9, filled: 1 }, "exact", "request"],
	["a deadline that is easily met", FRONT, { maxMs: 5000 }, {}, "stagevar-auto", "measured"],
	["a deadline that thins", FRONT, { maxMs: 450 }, {}, "sparsevar", "deadline"],
	[
		"a deadline that thins a wish as little as need be",
		FRONT,
		{ quality: "high", maxMs: 900 },
		{},
		"switti",
		"deadline",
	],
	[
		"a deadline, and a wait before",
		FRONT,
		{ quality: "high", maxMs: 900 },
		{ waitMs: 200 },
		"stagevar-auto",
		"deadline",
	],
	["a deadline that nothing meets", FRONT, { maxMs: 100 }, {}, "sparsevar", "deadline-missed"],
	["a deadline that nothing can meet", {}, { maxMs: 100 }, {}, "exact", "deadline-missed"],
	["a deadline nobody can tell of", FRONT, { maxMs: 9 }, { exactMs: null }, "stagevar-auto", "deadline-unmeasured"],
	[
		"nothing, under load, and all loses more than low may",
		{ fastvar: [-0.2, 2] },
		{},
		{ filled: 1 },
		"exact",
		"unmeasured",
	],
	["no slots at all", FRONT, {}, { slots: 0, waiting: 2 }, "sparsevar", "load"],
])("%s", (_, trades, asked, load, policy, reason) => {
	expect(choosePolicy(measured(trades), undefined, asked, { ...IDLE, ...load })).toEqual({ policy, reason });
});

it("a schedule that no measured policy can plan is made exactly, whatever the pressure", () => {
	const load = { ...IDLE, waiting: 99, filled: 1 };
	expect(choosePolicy(measured(FRONT), "wide", { saveData: "on" }, load)).toEqual({
		policy: "exact",
		reason: "unmeasured",
	});
});
