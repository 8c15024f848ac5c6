import { policiesText } from "../../model-shards/format/policies.ts";
import { heldPolicies } from "../../model-shards/held-policies.ts";
import type { Trade } from "../../worker/protocol/model-info.ts";
import { currentPolicyName } from "../../worker/protocol/policy-names.ts";
import { writeWhole } from "../cli/output.ts";
import { RecordsError } from "./records.ts";
import type { Summary } from "./summary.ts";

/**
 * What a deployer chooses by, by the names that policies have now. `adapter`: what they were timed on. Throws
 * RecordsError for a policy that was not judged or not timed.
 */
export function tradesOf(summaries: readonly Summary[], adapter: string): Record<string, Trade> {
	return Object.fromEntries(
		summaries.map(({ policy, quality, speedup }): [string, Trade] => {
			if (!quality || !speedup)
				throw new RecordsError(
					`There are no ${quality ? "times" : "scores"} of ${policy} to write down. ` +
						`Run eval with ${quality ? "--timings 3" : "--prompts 120"} and the same --out first.`,
				);
			const { delta, lower } = quality.difference;
			const rounded = (value: number) => Number(value.toFixed(4));
			return [
				currentPolicyName(policy),
				{
					score: rounded(quality.overall),
					delta: rounded(delta),
					lower: rounded(lower),
					speedup: rounded(speedup.total),
					transformer: rounded(speedup.transformer),
					adapter,
					prompts: quality.prompts,
				},
			];
		}),
	);
}

/** Puts trades into a policies.json, in place of those it holds. */
export async function writeTrades(path: string, digest: string, trades: Record<string, Trade>): Promise<void> {
	await writeWhole(path, policiesText({ ...(await heldPolicies(path, digest)), trades }));
}
