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
