/** An evaluation as Markdown. */
import { mib } from "../bench/measure.ts";
import type { Head } from "./records.ts";
import type { Quality, Summary } from "./summary.ts";

const MINUS = "−";

/** A table of scores and one of costs, with what they were measured on. */
export function markdownOf(head: Head, summaries: readonly Summary[]): string {
	const judged = summaries.filter((summary): summary is Summary & { quality: Quality } => summary.quality !== null);
	const categories = [...new Set(judged.flatMap(({ quality }) => Object.keys(quality.categories)))];
	const [baseline] = summaries;
	const pictures = judged[0]?.quality;
	return [
		`Model ${head.model} (${head.digest.slice(0, 19)}), schedule ${head.schedule}; ` +
			`${head.adapter}; numerics ${head.numerics}.`,
		...(pictures ? [aboutScores(head, pictures, baseline.policy)] : []),
		"",
		...table(
			[
				"policy",
				...categories.map((name) => name.replaceAll("_", " ")),
				"overall",
				"Δ",
				"95 %",
				"PSNR",
				"SSIM",
				"diversity",
			],
			judged.map(({ policy, quality, diversity }) => {
				const { lower, upper, delta } = quality.difference;
				const own = quality.pictures === pictures?.pictures ? policy : `${policy} (${quality.pictures} pictures)`;
				return [
					own,
					...categories.map((name) =>
						quality.categories[name] === undefined ? "" : quality.categories[name].toFixed(3),
					),
					quality.overall.toFixed(3),
					...(policy === baseline.policy
						? ["", "", "", ""]
						: [
								signed(delta),
								`${signed(lower)} to ${signed(upper)}`,
								quality.psnr === Infinity ? "equal" : quality.psnr.toFixed(1),
								quality.ssim.toFixed(3),
							]),
					diversity === null ? "" : diversity.toFixed(3),
				];
			}),
		),
		"",
		...presenceTable(judged, baseline.policy),
		`Cost of one picture from its plan, and times faster than ${baseline.policy}: ` +
			"medians of pairs, one right after the other, without previews.",
		"",
		...table(
			[
				"policy",
				"transformer GFLOP",
				"decoder GFLOP",
				"tokens × rows",
				"keys and values",
				"GPU memory",
				"transformer",
				"whole",
				"of it decoder",
			],
			summaries.map(({ policy, cost, speedup, memoryBytes }) => [
				policy,
				giga(cost.transformerFlops),
				giga(cost.decoderFlops),
				String(Math.round(cost.tokenRows)),
				mib(cost.keyValueBytes),
				memoryBytes === null ? "" : mib(memoryBytes),
				...(speedup
					? [
							`${speedup.transformer.toFixed(2)}x`,
							`${speedup.total.toFixed(2)}x`,
							speedup.decode > 0 ? `${Math.round(100 * speedup.decode)} %` : "",
						]
					: ["", "", ""]),
			]),
		),
		"",
	].join("\n");
}

function aboutScores({ judge }: Head, { prompts, pictures }: Quality, baseline: string): string {
	return [
		`Scores by GenEval's protocol, read by the judge ${judge.slice(0, 12)}: ` +
			`${prompts} prompts, ${pictures} pictures a policy unless the row says otherwise.`,
		`Δ: overall less ${baseline}'s on the same prompts and seeds, ` +
			"with the 95 % interval of a paired bootstrap (10 000 resamples of prompts within their categories).",
		`PSNR (of the mean squared error) and SSIM are to the ${baseline} picture of the same seed.`,
	].join(" ");
}

/** What the second judge says, where it was asked. */
function presenceTable(judged: readonly { policy: string; quality: Quality }[], baseline: string): string[] {
	const rows = judged.flatMap(({ policy, quality: { presence } }) => (presence ? [{ policy, presence }] : []));
	if (rows.length === 0) return [];
	return [
		"Objects that are there by the second judge, a detector trained on photographs (docs/evaluation.md), " +
			"of those it can tell on such drawings.",
		"",
		...table(
			["policy", "objects", "found", "Δ"],
			rows.map(({ policy, presence: { objects, found, baseline: exact } }) => [
				policy,
				String(objects),
				found.toFixed(3),
				policy === baseline ? "" : signed(found - exact),
			]),
		),
		"",
	];
}

/** The first column to the left, the others to the right. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string[] {
	const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
	return [line(heads), line(heads.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)];
}

export const giga = (flops: number): string => (flops / 1e9).toPrecision(3);
const signed = (value: number) =>
	value < -5e-4 ? `${MINUS}${(-value).toFixed(3)}` : `${value < 5e-4 ? "" : "+"}${Math.abs(value).toFixed(3)}`;
