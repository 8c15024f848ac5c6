import { expect, test } from "vitest";
import { PoliciesFile } from "../../model-shards/format/policies.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ScaleObservation } from "../../worker/policies/measurements/measurement.ts";
import type { Calibration } from "../../worker/protocol/model-info.ts";
import { calibrationOf } from "./measure.ts";
import { convergencePlot, keptPlot } from "./plots.ts";
import { meansOf, seenOf } from "./seen.ts";

/** Five scales that converge by powers of ten at middle resolution, faster when coarse. */
const picture = (more: (scale: number) => Partial<ScaleObservation> = () => ({})): ScaleObservation[] =>
	[0, 1, 2, 3, 4].map((scale) => ({
		coarse: [0.5, 0.15, 0.01, 0, 0][scale],
		middle: [0.9, 0.4, 0.15, 0.05, 0][scale],
		unguided: [0.5, 0.005, 0.08, 0.02, 0.001][scale],
		conditional: 0.9,
		unconditional: 0.5,
		looks: Array.from({ length: scale }, (_, look) => ({ tokens: look < 2 ? 0.7 : 0.4, score: 0.8 })),
		detail: 0.6,
		highFrequency: 0.1 * scale,
		ranks: [0.2, 0.3],
		right: null,
		...more(scale),
	}));

/** Of these pictures, without trials. */
const calibrated = (pictures: ScaleObservation[][], before?: Calibration): Promise<Calibration> =>
	calibrationOf(Object.values(policies), seenOf(pictures), before, async () => undefined);

test("stages begin after the scale that settles them, and every policy finds what it needs", async () => {
	const calibration = await calibrated([
		picture(),
		picture(),
		picture((scale) => ({ highFrequency: scale, ranks: [] })),
	]);
	expect(calibration).toEqual({
		structureFrom: 2,
		fidelityFrom: 3,
		measured: {
			skipFrom: 4,
			guidanceTo: 3,
			rankRatio: { 3: [0.2, 0.3], 4: [0.2, 0.3] },
			detailRatio: { 3: 0.6, 4: 0.6 },
			look: { after: 2, from: 3, hold: 0.8 },
			detail: [0.2, 2],
		},
	});
	const model = `sha256:${"ab".repeat(32)}`;
	const file = { format: "firstlight-policies", version: 2, model, calibration: { "1:1": calibration }, trades: {} };
	expect(PoliciesFile.parse(file)).toEqual(file);
});

test("the picture is looked at before the first late scale from which on few tokens change", async () => {
	const tokens = (scale: number) =>
		[0, 1, 2, 3].slice(0, scale).map((look) => ({ tokens: look === 3 ? 0.4 : 0.7, score: 0.7 }));
	const { fidelityFrom, measured } = await calibrated([picture((scale) => ({ looks: tokens(scale) }))]);
	expect([fidelityFrom, measured.look]).toEqual([3, { after: 3, from: 4, hold: 0.7 }]);
});

test("what the judge sees is told, and moves nothing", async () => {
	const judged = [true, false].map((right) => picture((scale) => ({ right: right || scale > 2 })));
	expect(meansOf(judged).map(({ asJudged }) => asJudged)).toEqual([0.5, 0.5, 0.5, 1, 1]);
	expect(await calibrated(judged)).toEqual(await calibrated([picture(), picture()]));
});

test("a model that never settles has no late scale", async () => {
	const never = { coarse: 1, middle: 1, unguided: 1, looks: Array(5).fill({ tokens: 0.9, score: 1 }) };
	expect(await calibrated([picture(() => never)])).toMatchObject({
		structureFrom: 5,
		fidelityFrom: 5,
		measured: { skipFrom: 5, guidanceTo: 5, rankRatio: {}, look: { after: 4, from: 5, hold: 1 } },
	});
});

test("measured anew, what is known is replaced, and what no policy here knows is kept", async () => {
	const before = { structureFrom: 0, fidelityFrom: 0, measured: { skipFrom: 1, textGuidance: 2, ofTomorrow: [7] } };
	const { measured } = await calibrated([picture()], before);
	expect(measured).toMatchObject({ skipFrom: 4, ofTomorrow: [7] });
	expect(measured).not.toHaveProperty("textGuidance");
});

test("plots name every line and mark where stages begin", async () => {
	const seen = seenOf([picture((scale) => ({ right: scale > 1 }))]);
	const about = { model: "<m>", schedule: "1:1" };
	const [settling, tokens] = [await convergencePlot(about, seen), await keptPlot(about, seen)];
	for (const name of ["to come, coarse", "judged as finished", "&lt;m&gt;", "without guidance", "skip"])
		expect(settling).toContain(name);
	for (const name of ["by the picture of scale 2", "kept", "rank, chunk 1", "fidelity"]) expect(tokens).toContain(name);
	expect(settling.match(/aria-roledescription="symbol mark"/g)).toHaveLength(30);
});
