import { findModel } from "../../model-shards/open.ts";

/** The reference sets that bring their own weights, and how many runs each holds. */
export const SETS: [name: string, runs: number][] = [
	["infinity-tiny", 2],
	["stagevar-infinity-tiny", 5],
	["infinity-patchify-tiny", 2],
	["fastvar-infinity-tiny", 2],
	["var-tiny", 1],
	["star-tiny", 1],
	["stagevar-star-tiny", 1],
	["hart-tiny", 1],
];

/** Those of bundled models, whose weights are theirs. */
export const BUNDLED: [name: string, runs: number, model: string][] = [
	["emoji-128", 3, findModel("emoji-128")],
	["emoji-256", 1, findModel("emoji-256")],
];
