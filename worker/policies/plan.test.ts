import { describe, expect, it } from "vitest";
import { ModelInfo, type Stages } from "../protocol/model-info.ts";
import { type Reduction, type RunStep, StagePlan, type Step, scalesLookedAt, settle } from "../protocol/plan.ts";
import { findPolicy, PlanError, policies } from "./index.ts";
import { checkPlan, planProblems } from "./validate.ts";

const square: [number, number][] = [1, 2, 4, 6, 8, 12, 16].map((side) => [side, side]);
const info = ModelInfo.parse({
	id: "test",
	digest: `sha256:${"ab".repeat(32)}`,
	family: "infinity",
	schedules: {
		"1:1": { grids: square, image: { height: 256, width: 256 } },
		"2:1": {
			grids: [
				[1, 1],
				[2, 2],
				[4, 2],
			],
			image: { height: 64, width: 32 },
		},
	},
	defaultSchedule: "1:1",
	blocks: 4,
	chunks: [
		[0, 2],
		[2, 4],
	],
	bitsPerToken: 16,
	guidesByText: true,
	maxPromptTokens: 32,
	sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
	calibration: {
		"1:1": {
			structureFrom: 2,
			fidelityFrom: 4,
			measured: {
				skipFrom: 5,
				rankRatio: { 4: [0.3, 0.45], 5: [0.2, 0.35], 6: [0.12, 0.28] },
				guidanceTo: 3,
				earlyTau: 0.4,
				detailRatio: { 4: 0.5, 5: 0.4, 6: 0.3 },
				look: { after: 3, from: 4, hold: 0.9 },
				detail: [0.1, 0.2],
			},
		},
	},
});
/** The model with other bounds, or other measurements. */
const calibrated = (measured: Record<string, unknown>, stages: Partial<Stages> = {}): ModelInfo => {
	const { "1:1": held } = info.calibration;
	return { ...info, calibration: { "1:1": { ...held, ...stages, measured: { ...held.measured, ...measured } } } };
};
const runs = (steps: readonly Step[]) => steps.filter((step): step is RunStep => step.kind === "run");

describe("policies", () => {
	it("are known by their own names and make plans that pass schema and validation", () => {
		expect(Object.keys(policies)).toEqual([
			"exact",
			"stagevar",
			"stagevar-released",
			"fastvar",
			"sparsevar",
			"skipvar",
			"skipvar-static",
			"switti",
			"stagevar-auto",
			"diverse",
		]);
		for (const [name, policy] of Object.entries(policies)) {
			const plan = policy.plan(info, {});
			expect(policy.name).toBe(name);
			expect(plan).toMatchObject({ policy: name, schedule: "1:1", model: info.digest });
			expect(StagePlan.parse(plan)).toEqual(plan);
			expect(planProblems(plan, info)).toEqual([]);
			expect(policy.plan(info, { schedule: "1:1" })).toEqual(plan);
		}
	});

	it("exact runs both rows everywhere, stages from the calibration", () => {
		const steps = runs(policies.exact.plan(info, { schedule: "1:1" }).steps);
		expect(steps.map((s) => s.stage)).toEqual([
			"semantic",
			"semantic",
			"structure",
			"structure",
			"fidelity",
			"fidelity",
			"fidelity",
		]);
		for (const step of steps)
			expect(step).toMatchObject({ rows: "both", guidance: 3, tau: 0.5, topK: 0, topP: 0, reduce: [] });
	});

	it("the last scales may keep the guidance of those before them, and fewer values from some scale on", () => {
		const held = {
			...info,
			sampling: {
				...info.sampling,
				guidance: [1, 2.5] as [number, number],
				heldScales: 2,
				topK: [
					[0, 600],
					[3, 300],
				] as [number, number][],
			},
		};
		const steps = runs(policies.exact.plan(held, {}).steps);
		expect(steps.map((s) => s.guidance)).toEqual([1, 1.25, 1.5, 1.75, 2, 2, 2]);
		expect(steps.map((s) => s.topK)).toEqual([600, 600, 600, 300, 300, 300, 300]);
	});

	it("guidance given for the first and the last scale grows in equal steps", () => {
		const ramped = { ...info, sampling: { ...info.sampling, guidance: [1, 2.5] as [number, number] } };
		expect(runs(policies.exact.plan(ramped, {}).steps).map((s) => s.guidance)).toEqual([
			1, 1.25, 1.5, 1.75, 2, 2.25, 2.5,
		]);
		expect(runs(policies.stagevar.plan(ramped, {}).steps).map((s) => s.guidance)).toEqual([
			1, 1.25, 1.5, 1.75, 0, 0, 0,
		]);
		const one = {
			...ramped,
			schedules: { ...info.schedules, "1:1": { ...info.schedules["1:1"], grids: [[1, 1]] as [number, number][] } },
		};
		expect(runs(policies.exact.plan(one, {}).steps).map((s) => s.guidance)).toEqual([1]);
	});

	it("exact cuts an uncalibrated schedule in thirds", () => {
		const steps = runs(policies.exact.plan(info, { schedule: "2:1" }).steps);
		expect(steps.map((s) => s.stage)).toEqual(["semantic", "structure", "fidelity"]);
	});

	it("stagevar keeps the unconditional row late, with the ranks the official code recorded", () => {
		const steps = runs(policies.stagevar.plan(info, {}).steps);
		expect(steps.map((s) => s.rows)).toEqual(["both", "both", "both", "both", "uncond", "uncond", "uncond"]);
		expect(steps.map((s) => s.guidance)).toEqual([3, 3, 3, 3, 0, 0, 0]);
		expect(steps.slice(4).map((s) => s.reduce.map((r) => r.count))).toEqual([
			[20, 29],
			[29, 51],
			[31, 72],
		]);
		expect(steps.slice(4).map((s) => s.reduce.map(({ rest }) => (rest as { from: number }).from))).toEqual([
			[3, 3],
			[4, 4],
			[5, 5],
		]);
		expect(steps[4].reduce.map((r) => r.blocks)).toEqual([
			[0, 2],
			[2, 4],
		]);
	});

	it("stagevar without ratios is text-free only, and a ratio of 1 keeps every token", () => {
		const [late] = runs(policies.stagevar.plan(calibrated({ rankRatio: { 5: [1, 1] } }), {}).steps).slice(4);
		expect(late).toMatchObject({ rows: "uncond", reduce: [] });
		const all = policies.stagevar.plan(calibrated({ rankRatio: { 5: [1, 1] } }), {});
		expect(runs(all.steps)[5].reduce.map((r) => r.count)).toEqual([144, 144]);
	});

	it("stagevar by single blocks whose tokens keep their positions, with the ranks the official code recorded", () => {
		const grids = [1, 2, 3, 4, 6, 8].map((side): [number, number] => [side, side]);
		const star: ModelInfo = {
			...info,
			blocks: 3,
			chunks: [
				[0, 1],
				[1, 2],
				[2, 3],
			],
			lowRank: { rope: "kept", mostTokens: 64 },
			sampling: { ...info.sampling, guidance: [1, 5.5] },
			schedules: { "1:1": { grids, image: { height: 128, width: 128 } } },
			calibration: {
				"1:1": {
					structureFrom: 2,
					fidelityFrom: 4,
					measured: { rankRatio: { 4: [0.2, 0.3, 0.25], 5: [0.25, 0.6, 0.4] } },
				},
			},
		};
		const plan = policies.stagevar.plan(star, {});
		expect(planProblems(plan, star)).toEqual([]);
		expect(
			runs(plan.steps)
				.map(({ reduce }) => reduce.map(({ count, rope }) => [count, rope]))
				.slice(3),
		).toEqual([
			[],
			[
				[8, "kept"],
				[11, "kept"],
				[10, "kept"],
			],
			[
				[17, "kept"],
				[39, "kept"],
				[26, "kept"],
			],
		]);
		const narrow = policies.stagevar.plan({ ...star, lowRank: { rope: "kept", mostTokens: 40 } }, {});
		expect(runs(narrow.steps)[5].reduce.map(({ count }) => count)).toEqual([11, 25, 17]);
	});

	it("stagevar-released leaves the last scales out, and answers to its former name", () => {
		expect(findPolicy("stagevar-skip")).toBe(policies["stagevar-released"]);
		expect([findPolicy("stagevar"), findPolicy("constructor")]).toEqual([policies.stagevar, undefined]);
		const { steps } = policies["stagevar-released"].plan(info, {});
		expect(steps.map((s) => s.kind)).toEqual(["run", "run", "run", "run", "run", "skip", "skip"]);
		expect(steps.slice(0, 5)).toEqual(policies.stagevar.plan(info, {}).steps.slice(0, 5));
	});

	it("fastvar drops the shares the official code drops, in the blocks it prunes, and skips the last scales", () => {
		const deep: ModelInfo = {
			...info,
			blocks: 32,
			chunks: [[0, 32]],
			calibration: calibrated({ skipFrom: 6 }).calibration,
		};
		const { steps } = policies.fastvar.plan(deep, {});
		expect(steps.map(({ kind }) => kind)).toEqual(["run", "run", "run", "run", "run", "run", "skip"]);
		expect(runs(steps).map(({ reduce }) => reduce.map(({ blocks, count, each }) => [blocks, count, each]))).toEqual([
			[],
			[],
			[],
			[],
			[[[3, 28], 39, "sublayer"]],
			[[[3, 28], 72, "sublayer"]],
		]);
		expect(runs(steps)[5].reduce[0].rest).toEqual({ from: 3, resize: "area", of: "change" });
	});

	it("sparsevar runs every block of the late scales on as many tokens as have detail", () => {
		const steps = runs(policies.sparsevar.plan(info, {}).steps);
		expect(steps.map(({ reduce }) => reduce.map(({ blocks, count, each }) => [blocks, count, each]))).toEqual([
			[],
			[],
			[],
			[],
			[[[0, 4], 32, "block"]],
			[[[0, 4], 58, "block"]],
			[[[0, 4], 77, "block"]],
		]);
	});

	it("skipvar lets each picture's detail settle the rest, once", () => {
		const plan = policies.skipvar.plan(info, {});
		expect(plan.steps).toEqual(policies.exact.plan(info, {}).steps);
		expect(plan.decide).toMatchObject({ after: 3, measure: "high-frequency" });
		const rows = (measured: number) =>
			settle(plan, measured)
				.steps.slice(4)
				.map((step) => (step.kind === "run" ? step.rows : "skip"));
		expect([rows(0.05), rows(0.15), rows(0.2)]).toEqual([
			["cond", "skip", "skip"],
			["cond", "cond", "cond"],
			["both", "both", "both"],
		]);
		expect(settle(plan, 0.05)).not.toHaveProperty("decide");
		expect(() => policies.skipvar.plan(calibrated({}, { fidelityFrom: 7 }), {})).toThrow(/nothing to decide/);
	});

	it("skipvar-static makes of every picture what skipvar makes of one with little detail", () => {
		const plan = policies["skipvar-static"].plan(info, {});
		expect(plan).not.toHaveProperty("decide");
		expect(plan.steps).toEqual(settle(policies.skipvar.plan(info, {}), 0.05).steps);
		const never = policies["skipvar-static"].plan(calibrated({ skipFrom: 7 }, { fidelityFrom: 7 }), {});
		expect(never.steps).toEqual(policies.exact.plan(calibrated({}, { fidelityFrom: 7 }), {}).steps);
	});

	it("switti drops guidance from the measured scale on, and nothing else", () => {
		const [exact, { steps }] = ["exact", "switti"].map((name) => policies[name].plan(info, {}));
		expect(steps).toEqual(
			exact.steps.map((step, scale) => (scale < 3 ? step : { ...step, rows: "cond", guidance: 1 })),
		);
		expect(policies.switti.plan(calibrated({ guidanceTo: 7 }), {}).steps).toEqual(exact.steps);
	});

	it("stagevar-auto keeps the share of the tokens that holds a picture's detail, on the conditional row", () => {
		const plan = policies["stagevar-auto"].plan(info, {});
		expect(runs(plan.steps).map(({ rows }) => rows)).toEqual(["both", "both", "both", "cond", "cond", "cond", "cond"]);
		expect(plan.decide).toEqual({ after: 3, measure: "picture", hold: 0.9 });
		const counts = (steps: readonly Step[]) =>
			runs(steps)
				.slice(4)
				.map(({ reduce }) => reduce[0].count);
		expect([counts(plan.steps), counts(settle(plan, 0.3).steps), counts(settle(plan, 0).steps)]).toEqual([
			[64, 144, 256],
			[20, 44, 77],
			[1, 1, 1],
		]);
		expect(planProblems(settle(plan, 0.3), info)).toEqual([]);
		expect([...scalesLookedAt(settle(plan, 0.3))]).toEqual([3]);
		expect(runs(plan.steps).map(({ textGuidance }) => textGuidance)).toEqual(Array(7).fill(undefined));
		const guided = policies["stagevar-auto"].plan(calibrated({ textGuidance: 1.5 }), {});
		expect(runs(guided.steps).map(({ textGuidance }) => textGuidance)).toEqual([
			undefined,
			undefined,
			undefined,
			1.5,
			1.5,
			1.5,
			1.5,
		]);
		expect(planProblems(guided, info)).toEqual([]);
		expect(planProblems(guided, { ...info, guidesByText: undefined })[0]).toMatch(
			/step 3 has textGuidance; this model's text is not guided by itself, leave it out/,
		);
		const never = calibrated({ look: { after: 6, from: 7, hold: 1 } });
		expect(policies["stagevar-auto"].plan(never, {})).not.toHaveProperty("decide");
	});

	it("diverse seeks the temperature of the early scales alone", () => {
		const taus = runs(policies.diverse.plan(info, {}).steps).map(({ tau }) =>
			typeof tau === "number" ? tau : [Number(tau.confidence.toFixed(3)), ...tau.between],
		);
		expect(taus).toEqual([[0.6, 0.5, 8], [0.667, 0.5, 8], [0.733, 0.5, 8], [0.8, 0.5, 8], 0.5, 0.5, 0.5]);
	});

	it("refuses what it cannot plan and says what it can", () => {
		expect(() => policies.exact.plan(info, { schedule: "3:1" })).toThrow(
			new PlanError('Model test has no schedule "3:1". It has: 1:1, 2:1.'),
		);
		expect(() => policies.exact.plan(info, { schedule: "constructor" })).toThrow(PlanError);
		for (const name of Object.keys(policies).filter((name) => name !== "exact")) {
			expect(() => policies[name].plan(info, { schedule: "2:1" })).toThrow(
				/needs a calibration.*Calibrated schedules: 1:1; or use policy exact/,
			);
			expect(() => policies[name].plan({ ...info, calibration: {} }, {})).toThrow(PlanError);
		}
	});

	it.each<[string, string, Record<string, unknown>, RegExp]>([
		["what was not measured", "stagevar", { rankRatio: undefined }, /Policy stagevar needs rankRatio, .* not measured/],
		["what is of another kind", "switti", { guidanceTo: "late" }, /cannot plan by the guidanceTo .* expected number/],
		["a scale beyond the schedule", "fastvar", { skipFrom: 9 }, /the skipFrom .*: it is scale 9, and there are 7/],
		["ratios of no scale", "sparsevar", { detailRatio: { 7: 0.5 } }, /the detailRatio .*: scale 7 is not below 7/],
		["too few ratios", "stagevar", { rankRatio: { 4: [0.5] } }, /scale 4 has 1 ratios, and needs 2, one per chunk/],
		[
			"a look too late",
			"stagevar-auto",
			{ look: { after: 5, from: 5, hold: 1 } },
			/looks after scale 5, .* before scale 5/,
		],
	])("refuses %s by its name, and says what to run", (_, name, measured, message) => {
		const plan = () => policies[name].plan(calibrated(measured), {});
		expect(plan).toThrow(PlanError);
		expect(plan).toThrow(message);
		expect(plan).toThrow("npx firstlight calibrate --model test --schedule 1:1, or use policy exact.");
		// Nobody else minds.
		const others = Object.values(policies).filter(
			({ needs = {} }) => !Object.keys(measured).some((key) => key in needs),
		);
		expect(others.length).toBeGreaterThan(4);
		for (const policy of others) policy.plan(calibrated(measured), {});
	});
});

describe("planProblems", () => {
	const base = policies.stagevar.plan(info, {});
	/** The plan with some steps changed. */
	const changed = (changes: Record<number, Partial<RunStep> | { kind: "skip" }>): StagePlan => ({
		...base,
		steps: base.steps.map((step, i) => {
			const change = changes[i];
			return change === undefined
				? step
				: change.kind === "skip"
					? { kind: "skip" }
					: ({ ...step, ...change } as RunStep);
		}),
	});
	const reduction = (changes: object) => ({ ...runs(base.steps)[5].reduce[0], ...changes }) as Reduction;

	it.each<[string, StagePlan, RegExp]>([
		["another model", { ...base, model: `sha256:${"0".repeat(64)}` }, /made for model sha256:0+; this is sha256:abab/],
		["an unknown schedule", { ...base, schedule: "9:1" }, /"9:1" is unknown; allowed: 1:1, 2:1/],
		["too few steps", { ...base, steps: base.steps.slice(1) }, /has 6 steps; schedule "1:1" has 7 scales/],
		["a skipped first scale", changed({ 0: { kind: "skip" } }), /first scale must run/],
		["a scale after a skipped one", changed({ 5: { kind: "skip" } }), /step 6 runs after step 5/],
		["rows that widen", changed({ 6: { rows: "both" } }), /step 6 has rows "both" after "uncond"/],
		[
			"text guidance beside the other row",
			changed({ 0: { textGuidance: 2 } }),
			/step 0 has textGuidance with rows "both"; it takes the place of the other row, so "cond" is allowed/,
		],
		[
			"rows that cross",
			changed({ 6: { rows: "cond" } }),
			/step 6 has rows "cond" after "uncond"; rows only narrow, so "uncond" is allowed/,
		],
		["a span beyond the blocks", changed({ 5: { reduce: [reduction({ blocks: [2, 5] })] } }), /from < to <= 4/],
		["an empty span", changed({ 5: { reduce: [reduction({ blocks: [2, 2] })] } }), /from < to/],
		[
			"overlapping spans",
			changed({ 5: { reduce: [reduction({ blocks: [0, 2] }), reduction({ blocks: [1, 4] })] } }),
			/disjoint and in order; this one may begin at 2/,
		],
		[
			"spans out of order",
			changed({ 5: { reduce: [reduction({ blocks: [2, 4] }), reduction({ blocks: [0, 2] })] } }),
			/in order/,
		],
		["more tokens than there are", changed({ 5: { reduce: [reduction({ count: 145 })] } }), /145 tokens kept of 144/],
		[
			"restoring from itself",
			changed({ 5: { reduce: [reduction({ rest: { from: 5, resize: "area", of: "output" } })] } }),
			/0 to 4 are allowed/,
		],
		[
			"reducing scale 0",
			changed({ 0: { reduce: [reduction({ count: 1, rest: { from: 0, resize: "area", of: "output" } })] } }),
			/scale 0 has none/,
		],
		[
			"the first scale on few tokens",
			changed({
				0: {
					reduce: [
						{
							blocks: [0, 4],
							each: "span",
							count: 1,
							take: { gather: "mean-distance" },
							rope: "kept",
							write: "kept",
							rest: "residual",
						},
					],
				},
			}),
			/step 0 is reduced; the first scale, .* runs in full/,
		],
		[
			"restoring from inside a reduced span",
			changed({
				4: { reduce: [reduction({ blocks: [0, 4], count: 9, rest: { from: 3, resize: "area", of: "output" } })] },
			}),
			/scale 4 is reduced across block 2/,
		],
	])("refuses %s", (_, plan, message) => {
		expect(planProblems(plan, info).join("\n")).toMatch(message);
		expect(() => checkPlan(plan, info)).toThrow(PlanError);
	});

	const gathering = (changes: object) =>
		({
			blocks: [0, 4],
			each: "span",
			count: 9,
			take: { gather: "mean-distance" },
			rope: "kept",
			write: "kept",
			rest: "skip",
			...changes,
		}) as Reduction;
	const skipvar = policies.skipvar.plan(info, {});
	const decision = (changes: object): StagePlan => ({
		...skipvar,
		decide: { ...skipvar.decide, ...changes } as StagePlan["decide"],
	});
	const late = skipvar.steps.slice(4);
	it.each<[string, StagePlan, RegExp]>([
		[
			"tokens left out of some blocks only",
			changed({ 5: { reduce: [gathering({ blocks: [0, 2] })] } }),
			/rest "skip" leaves tokens out of the whole scale; it is allowed for one span over blocks 0 to 4/,
		],
		["tokens left out block by block", changed({ 5: { reduce: [gathering({ each: "block" })] } }), /rest "skip"/],
		[
			"a change from a scale that is reduced there",
			changed({ 6: { reduce: [gathering({ each: "sublayer", rest: { from: 5, resize: "area", of: "change" } })] } }),
			/scale 5 is reduced in blocks 0 to 2 and has no full-length change there/,
		],
		[
			"an output from a scale that left tokens out",
			changed({
				5: { reduce: [gathering({})] },
				6: { reduce: [gathering({ rest: { from: 5, resize: "area", of: "output" } })] },
			}),
			/reduced across block 4/,
		],
		[
			"a look at a later picture",
			changed({ 5: { reduce: [gathering({ take: { gather: { picture: 5 } } })] } }),
			/gathers by the picture after scale 5; an earlier one is needed/,
		],
		[
			"temperature bounds the wrong way round",
			changed({ 1: { tau: { confidence: 0.7, between: [8, 1] } } }),
			/step 1: tau is sought between 8 and 1; give the lower bound first/,
		],
		["a decision after the last scale", decision({ after: 6 }), /decides after scale 6; 0 to 5 are allowed/],
		[
			"a case of the wrong length",
			decision({ cases: [{ below: 1, steps: late.slice(1) }] }),
			/case 0 of its decision has 2 steps; 3 scales come after scale 3/,
		],
		[
			"cases that are never reached",
			decision({
				cases: [
					{ below: 0.2, steps: late },
					{ below: 0.1, steps: late },
				],
			}),
			/below 0.1 is never reached after 0.2/,
		],
		[
			"a case whose rows widen",
			decision({ cases: [{ below: 0.2, steps: [{ ...late[0], rows: "cond" }, ...late.slice(1)] }] }),
			/case 0 of its decision: step 5 has rows "both" after "cond"/,
		],
		[
			"a case that skips at once",
			decision({ cases: [{ below: 0.2, steps: late.map(() => ({ kind: "skip" })) }] }),
			/case 0 of its decision: step 4 is skipped; the scale after a decision must run/,
		],
	])("refuses %s", (_, plan, message) => {
		expect(StagePlan.safeParse(plan).success).toBe(true);
		expect(planProblems(plan, info).join("\n")).toMatch(message);
	});

	it.each<[string, object]>([
		["an unknown score", gathering({ take: { gather: "luck" } })],
		["gathered tokens at the first positions", gathering({ rope: "first" })],
		["mixtures written to where they were not", { ...gathering({}), take: { project: "gaussian" } }],
		["an unknown way of filling", gathering({ rest: "mirror" })],
	])("the schema refuses %s", (_, reduction) => {
		expect(StagePlan.safeParse(changed({ 5: { reduce: [reduction as Reduction] } })).success).toBe(false);
	});

	it("the schema knows two kinds of rotary positions", () => {
		const rope = (rope: string) =>
			StagePlan.safeParse(changed({ 5: { reduce: [reduction({ rope: rope as Reduction["rope"] })] } })).success;
		expect([rope("first"), rope("kept"), rope("last")]).toEqual([true, true, false]);
	});

	it("refuses to restore from a skipped scale", () => {
		const plan = changed({ 4: { kind: "skip" } });
		expect(planProblems(plan, info).join("\n")).toMatch(/rest.from 4 is skipped/);
	});

	it("lists every problem at once", () => {
		expect(
			planProblems(changed({ 5: { rows: "both" }, 6: { reduce: [reduction({ count: 257 })] } }), info),
		).toHaveLength(2);
	});
});
