import { expect, test } from "vitest";
import { Calibration } from "../../worker/protocol/model-info.ts";
import { boundsOf, meansOf } from "./bounds.ts";
import type { ScaleObservation } from "./observe.ts";
import { convergencePlot, keptPlot } from "./plots.ts";

/** Five scales that converge by powers of ten at middle resolution, faster when coarse. */
const picture = (more: (scale: number) => Partial<ScaleObservation> = () => ({})): ScaleObservation[] =>
	[0, 1, 2, 3, 4].map((scale) => ({
		coarse: [0.5, 0.15, 0.01, 0, 0][scale],
		middle: [0.9, 0.4, 0.15, 0.05, 0][scale],
		unguided: [0.5, 0.005, 0.08, 0.04, 0.001][scale],
		conditional: 0.9,
		unconditional: 0.5,
		looks: Array.from({ length: scale }, (_, look) => ({ tokens: look < 2 ? 0.7 : 0.4, score: 0.8 })),
		detail: 0.6,
		highFrequency: 0.1 * scale,
		ranks: [0.2, 0.3],
		right: null,
		...more(scale),
	}));

test("stages begin after the scale that settles them", () => {
	const calibration = boundsOf([picture(), picture(), picture((scale) => ({ highFrequency: scale, ranks: [] }))]);
	expect(Calibration.parse({ ...calibration, earlyTau: 1 })).toEqual({ ...calibration, earlyTau: 1 });
	expect(calibration).toEqual({
		structureFrom: 2,
		fidelityFrom: 3,
		skipFrom: 4,
		guidanceTo: 3,
		rankRatio: { 3: [0.2, 0.3], 4: [0.2, 0.3] },
		detailRatio: { 3: 0.6, 4: 0.6 },
		look: { after: 2, from: 3, hold: 0.8 },
		detail: [0.2, 2],
	});
});

test("what the judge sees is told, and moves nothing", () => {
	const judged = [true, false].map((right) => picture((scale) => ({ right: right || scale > 2 })));
	expect(meansOf(judged).map(({ asJudged }) => asJudged)).toEqual([0.5, 0.5, 0.5, 1, 1]);
	expect(boundsOf(judged)).toEqual(boundsOf([picture(), picture()]));
});

test("a model that never settles has no late scale", () => {
	expect(
		boundsOf([picture(() => ({ coarse: 1, middle: 1, unguided: 1, looks: Array(5).fill({ tokens: 0.9, score: 1 }) }))]),
	).toMatchObject({
		structureFrom: 5,
		fidelityFrom: 5,
		skipFrom: 5,
		guidanceTo: 5,
		rankRatio: {},
		look: { after: 4, from: 5, hold: 1 },
	});
});

test("plots name every line and mark where stages begin", () => {
	const means = meansOf([picture((scale) => ({ right: scale > 1 }))]);
	const calibration = { ...boundsOf([picture()]), earlyTau: 1 };
	const about = { model: "<m>", schedule: "1:1", pictures: 1 };
	const [settling, tokens] = [convergencePlot(about, means, calibration), keptPlot(about, means, calibration)];
	for (const name of ["to come, coarse", "judged as finished", "&lt;m&gt;", "without guidance", "skip"])
		expect(settling).toContain(name);
	for (const name of ["by the picture of scale 2", "kept", "rank, chunk 1", "fidelity"]) expect(tokens).toContain(name);
	expect(settling.match(/<circle/g)).toHaveLength(30);
});
