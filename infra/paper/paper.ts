/** What policies cost on models that are too big to run here, from their plans alone. */
import { conditioningFlops, decoderFlops, keyBytes, scaleCosts, weightBytes } from "../../worker/engine/paper/flops.ts";
import { policies } from "../../worker/policies/index.ts";
import { outcomesOf, type StagePlan, settle } from "../../worker/protocol/plan.ts";
import type { BigModel, Bounds, Setting } from "./published.ts";

export interface PaperRow {
	/** The policy, and which of its outcomes where it decides for itself. */
	name: string;
	setting: Setting;
	plan: StagePlan;
	transformerFlops: number;
	tokenRows: number;
	/** Conditioning and decoder too; the text encoder is left out. */
	wholeFlops: number;
	/** At f16: cached keys and values at most, and with the weights. */
	keyBytes: number;
	memoryBytes: number;
}

/** The first row is exact's. */
export function paperRows({ model, info, textTokens, settings }: BigModel): PaperRow[] {
	const { schedules, defaultSchedule } = model.manifest;
	const schedule = schedules[defaultSchedule];
	const [height, width] = schedule.grids[schedule.grids.length - 1];
	const weights = weightBytes(model, "f16").resident;
	const others = conditioningFlops(model, textTokens) + decoderFlops(model, height, width);
	return settings.flatMap((setting) => {
		const scales = schedule.grids.length;
		const never = {
			skipFrom: scales,
			guidanceTo: scales,
			earlyTau: info.sampling.tau,
			rankRatio: {},
			detailRatio: {},
			look: { after: 0, from: scales, hold: 1 },
			detail: [0, 0],
		};
		const plan = ({ fidelityFrom = scales, ...bounds }: Bounds = {}) => {
			const calibration = { structureFrom: 0, fidelityFrom, measured: { ...never, ...bounds } };
			return policies[setting.policy].plan({ ...info, calibration: { [defaultSchedule]: calibration } }, {});
		};
		return plansOf(plan, setting).map(([name, plan]): PaperRow => {
			const costs = scaleCosts(model, schedule, plan, textTokens);
			const transformerFlops = sum(costs.map(({ flops }) => flops));
			const keys = keyBytes(model, schedule, plan, textTokens, "f16");
			return {
				name,
				setting,
				plan,
				transformerFlops,
				tokenRows: sum(costs.map(({ blockTokens }) => blockTokens)) / model.facts.shape.depth,
				wholeFlops: transformerFlops + others,
				keyBytes: keys,
				memoryBytes: weights + keys,
			};
		});
	});
}

/** A plan with nothing left to decide, or one a case, or one a share. */
function plansOf(
	planOf: (bounds?: Bounds) => StagePlan,
	{ policy, bounds = {}, shares = [] }: Setting,
): [name: string, plan: StagePlan][] {
	if (shares.length > 0) {
		const detail = (share: number) =>
			Object.fromEntries(Object.keys(bounds.detailRatio ?? {}).map((scale) => [scale, share]));
		return shares.map((share) => [
			`${policy}, ${Math.round(100 * share)} % of the tokens`,
			settle(planOf({ ...bounds, detailRatio: detail(share) }), share),
		]);
	}
	const outcomes = outcomesOf(planOf(bounds));
	if (outcomes.length === 1) return [[policy, outcomes[0]]];
	return outcomes.map((outcome, i) => [
		`${policy}, ${i === 0 ? "most detail" : i === 1 ? "little detail" : "some detail"}`,
		outcome,
	]);
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
