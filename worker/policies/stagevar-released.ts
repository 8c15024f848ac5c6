/**
 * StageVAR (arXiv 2512.16483) as its released code (sen-mao/FasterVAR) runs Infinity: the last scales, 48 and 64 tokens
 * wide there, are left out altogether, the latent goes to the decoder as it is; the late scales before them are
 * text-free and low-rank. Until both readings had names of their own it was called `stagevar-skip`.
 */
import { skipFrom } from "./measurements/skip-from.ts";
import { definePolicy } from "./policy.ts";
import { rankRatio, textFree } from "./stagevar.ts";

export const stagevarReleased = definePolicy(
	{
		name: "stagevar-released",
		title: "StageVAR as its code runs Infinity: the last scales left out",
		paper: "arXiv 2512.16483",
		needs: { rankRatio, skipFrom },
	},
	(setting, { rankRatio, skipFrom }) => ({
		steps: textFree(setting, rankRatio).map((step, scale) => (scale < skipFrom ? step : { kind: "skip" })),
	}),
);
