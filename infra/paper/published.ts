/**
 * The big models at 1024 x 1024, and how the published accelerations were set on them: what their code and papers say,
 * as data.
 */
import { type Model, modelInfo } from "../../worker/families/model.ts";
import { NO_DIGEST, plannedModel } from "../../worker/families/planned.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";

export interface BigModel {
	title: string;
	model: Model;
	info: ModelInfo;
	/** Tokens of a prompt that cross attention sees. */
	textTokens: number;
	settings: readonly Setting[];
}
/** Where the fidelity stage begins, and what stands in place of measurements. */
export interface Bounds {
	fidelityFrom?: number;
	skipFrom?: number;
	guidanceTo?: number;
	rankRatio?: Record<string, number[]>;
	detailRatio?: Record<string, number>;
	look?: { after: number; from: number; hold: number };
	detail?: [number, number];
}
/** A policy with the bounds that its authors set by hand. */
export interface Setting {
	policy: string;
	/** What the bounds are and who says so. */
	about: string;
	bounds?: Bounds;
	/** Shares of the tokens to assume where they follow the picture and none are published. */
	shares?: readonly number[];
	/** Whole-picture speedup that the authors measured. */
	claim?: { times: number; source: string };
}

/** A prompt of a dozen words. */
const TEXT_TOKENS = 24;

// sen-mao/FasterVAR, the entries "0.96" of its rank tables, rounded: Infinity by chunk at widths 40, 48 and 64 (its
// code skips the last two), STAR and HART by block at width 64.
const INFINITY_RANKS = {
	10: [0.01678, 0.13648, 0.21039, 0.25028, 0.25588, 0.19788, 0.157, 0.1909],
	11: [0.0134, 0.11731, 0.18941, 0.222, 0.23464, 0.18278, 0.13391, 0.16311],
	12: [0.00821, 0.0544, 0.08324, 0.06649, 0.05667, 0.02968, 0.03826, 0.05566],
};
const STAR_RANKS = [
	0.01515, 0.02747, 0.06943, 0.10348, 0.17093, 0.18591, 0.1748, 0.16437, 0.15379, 0.15548, 0.16531, 0.18199, 0.19309,
	0.19007, 0.17619, 0.16164, 0.14933, 0.1383, 0.13994, 0.1189, 0.1062, 0.08758, 0.07218, 0.06026, 0.05025, 0.04206,
	0.03536, 0.0291, 0.02379, 0.01968,
];
const HART_RANKS = [
	0.01874, 0.02337, 0.04418, 0.09879, 0.15854, 0.2075, 0.23185, 0.23661, 0.25319, 0.26999, 0.29325, 0.32766, 0.35949,
	0.394, 0.40009, 0.40961, 0.41726, 0.42682, 0.42553, 0.39184, 0.34818, 0.2754, 0.26781, 0.31022,
];

const STAGEVAR = "arXiv 2512.16483, README of sen-mao/FasterVAR";
const skipvar = (fidelityFrom: number, skipFrom: number, claim?: Setting["claim"]): Setting => ({
	policy: "skipvar",
	bounds: { fidelityFrom, skipFrom, detail: [0.1, 0.2] },
	claim,
	about:
		`decided after scale ${fidelityFrom - 1}, as its code does on Infinity-2B (fakerone-li/SkipVAR); ` +
		`pictures with little detail skip from scale ${skipFrom} on`,
});
const ours = (from: number): Setting => ({
	policy: "stagevar-auto",
	bounds: { guidanceTo: from, look: { after: from - 1, from, hold: 0.9 } },
	shares: [1, 0.5, 0.25],
	about:
		`bounds as StageVAR's, nothing measured here: without guidance from scale ${from} on, ` +
		"on the share of tokens shown",
});
const switti = (from: number): Setting => ({
	policy: "switti",
	bounds: { guidanceTo: from },
	about:
		"guidance off at the last two scales, as in the example of its code (yandex-research/switti, where there are ten)",
});
const sparsevar = (from: number, scales: number, claim?: Setting["claim"]): Setting => ({
	policy: "sparsevar",
	bounds: {
		fidelityFrom: from,
		detailRatio: Object.fromEntries(Array.from({ length: scales }, (_, i) => [from + i, 1])),
	},
	shares: [0.5, 0.25],
	claim,
	about: `its shares follow the picture: from scale ${from} on, on the share of tokens shown`,
});

const infinity = (claim: Setting["claim"], more: Record<string, Setting["claim"]>): Setting[] => [
	{ policy: "exact", about: "" },
	{
		policy: "stagevar",
		about: "as written: text-free and low rank (0.96) at widths 40, 48 and 64, none skipped",
		bounds: { fidelityFrom: 10, rankRatio: INFINITY_RANKS },
	},
	{
		policy: "stagevar-released",
		about: "the released setting: text-free and low rank (0.96) at width 40; 48 and 64 skipped",
		bounds: { fidelityFrom: 10, skipFrom: 11, rankRatio: INFINITY_RANKS },
		claim,
	},
	{
		policy: "fastvar",
		about:
			"the released setting (csguoh/FastVAR): 40 % of the tokens dropped at width 32, half at 40, " +
			"in blocks 3 to 27 of 32; 48 and 64 skipped",
		bounds: { fidelityFrom: 9, skipFrom: 11 },
		claim: more.fastvar,
	},
	sparsevar(10, 3, more.sparsevar),
	skipvar(10, 11, more.skipvar),
	switti(11),
	{
		policy: "diverse",
		about: "early scales alone are sampled otherwise: the cost is exact's",
		bounds: { fidelityFrom: 10 },
	},
	ours(10),
];
const fourteen = (ranks: readonly number[], claim?: Setting["claim"]): Setting[] => [
	{ policy: "exact", about: "" },
	{
		policy: "stagevar",
		about: "the released setting: text-free at widths 48 and 64, low rank block by block at 64 (0.96)",
		bounds: { fidelityFrom: 12, skipFrom: 14, rankRatio: { 13: [...ranks] } },
		claim,
	},
	{
		policy: "fastvar",
		about: "our policy's shares (those of Infinity) at widths 48 and 64, nothing skipped",
		bounds: { fidelityFrom: 12, skipFrom: 14 },
	},
	sparsevar(12, 2),
	skipvar(12, 13),
	switti(12),
	ours(12),
];

export const BIG_MODELS: readonly BigModel[] = [
	bigModel(
		"Infinity-2B",
		plannedModel("infinity", "2b"),
		infinity(
			{ times: 3.4, source: STAGEVAR },
			{
				fastvar: { times: 2.7, source: "arXiv 2503.23367, over FlashAttention" },
				sparsevar: { times: 2, source: "arXiv 2507.20454, up to 2" },
				skipvar: { times: 1.81, source: "arXiv 2506.08908, 1.81 over all pictures, up to 2.62 on GenEval" },
			},
		),
	),
	bigModel("Infinity-8B", plannedModel("infinity", "8b"), infinity({ times: 2.7, source: STAGEVAR }, {})),
	bigModel("STAR", plannedModel("star", "1024"), fourteen(STAR_RANKS, { times: 1.74, source: STAGEVAR })),
	bigModel("HART", plannedModel("hart", "0.7b"), fourteen(HART_RANKS)),
];

function bigModel(title: string, model: Model, settings: readonly Setting[]): BigModel {
	return { title, model, info: modelInfo(model, NO_DIGEST), textTokens: TEXT_TOKENS, settings };
}
