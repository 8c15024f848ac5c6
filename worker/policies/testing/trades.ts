/** A model with a calibrated schedule and one without, and what policies were measured to cost and gain on it. */
import { ModelInfo, type Trade } from "../../protocol/model-info.ts";

const grids: [number, number][] = [1, 2, 3, 4].map((side) => [side, side]);
export const info = ModelInfo.parse({
	id: "test",
	digest: `sha256:${"ab".repeat(32)}`,
	family: "infinity",
	schedules: { "1:1": { grids, image: { height: 32, width: 32 } }, wide: { grids, image: { height: 32, width: 64 } } },
	defaultSchedule: "1:1",
	blocks: 4,
	chunks: [
		[0, 2],
		[2, 4],
	],
	bitsPerToken: 8,
	maxPromptTokens: 16,
	guidesByText: true,
	sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
	calibration: {
		"1:1": {
			structureFrom: 1,
			fidelityFrom: 2,
			measured: {
				skipFrom: 3,
				guidanceTo: 2,
				textGuidance: 1.5,
				earlyTau: 0.4,
				rankRatio: { 2: [0.5, 0.5], 3: [0.5, 0.5] },
				detailRatio: { 2: 0.5, 3: 0.5 },
				look: { after: 1, from: 2, hold: 0.8 },
				detail: [0.1, 0.2],
			},
		},
	},
});
/** [delta, speedup] by policy. */
export const measured = (trades: Record<string, [number, number]>): ModelInfo => ({
	...info,
	trades: Object.fromEntries(
		Object.entries(trades).map(([policy, [delta, speedup]]): [string, Trade] => [
			policy,
			{ score: 0.9 + delta, delta, speedup },
		]),
	),
});

export const TRADES = {
	/** emoji-128's, as they were measured. */
	emoji: {
		exact: [0, 1],
		stagevar: [-0.6958, 1.736],
		"stagevar-released": [-0.6458, 2.2056],
		fastvar: [-0.3542, 1.5453],
		sparsevar: [-0.0875, 1.3048],
		skipvar: [-0.1833, 1.2606],
		diverse: [-0.1208, 0.94],
		"stagevar-auto": [-0.05, 1.2606],
	},
} satisfies Record<string, Record<string, [number, number]>>;
