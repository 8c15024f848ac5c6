/** From the lines of an evaluation to one row of figures a policy. */
import { median } from "../median.ts";
import { psnr } from "./likeness.ts";
import type { Cost, PictureLine, Records, TimingLine } from "./records.ts";
import { type Difference, type Judged, mean, pairedBootstrap, type Score, scoreOf } from "./scores.ts";

export interface Summary {
	policy: string;
	/** Mean of its pictures where each decides for itself. */
	cost: Cost;
	/** Null where no picture was judged. */
	quality: Quality | null;
	/**
	 * How many times faster than exact, medians of pairs; null where nothing was timed. `decode`: the decoder's share of
	 * the whole.
	 */
	speedup: { transformer: number; total: number; decode: number } | null;
	memoryBytes: number | null;
	/** Mean over prompts of the mean distance between seeds. */
	diversity: number | null;
}
export interface Quality extends Score {
	prompts: number;
	pictures: number;
	/** To the baseline on the same prompts and seeds. */
	difference: Difference;
	/** Of the mean squared error over all pictures; Infinity where all are equal. */
	psnr: number;
	ssim: number;
	/** By the second judge; null where it was not asked. */
	presence: Presence | null;
}
/** Of the objects that it can tell. */
export interface Presence {
	objects: number;
	/** Shares of them that are found, in this policy's pictures and in the baseline's. */
	found: number;
	baseline: number;
}

/**
 * Every policy that the file names; quality over the pictures that both the policy and the baseline (the first) have.
 */
export function summarise(records: Records): Summary[] {
	const policies = records.of("policy");
	const baseline = policies[0].policy;
	const pictures = Map.groupBy(records.of("picture"), ({ policy }) => policy);
	const timings = Map.groupBy(records.of("timing"), ({ policy }) => policy);
	const distances = Map.groupBy(records.of("diversity"), ({ policy }) => policy);
	return policies.map(
		({ policy, cost }): Summary => ({
			policy,
			cost: meanCost((pictures.get(policy) ?? []).flatMap(({ cost }) => cost ?? [])) ?? cost,
			quality: qualityOf(pictures.get(policy) ?? [], pictures.get(baseline) ?? []),
			speedup: policy === baseline ? baselineSpeed(records.of("timing")) : speedupOf(timings.get(policy) ?? []),
			memoryBytes: records.find("memory", policy)?.bytes ?? null,
			diversity: distances.has(policy) ? mean((distances.get(policy) ?? []).map(({ distance }) => distance)) : null,
		}),
	);
}

function meanCost(costs: readonly Cost[]): Cost | null {
	if (costs.length === 0) return null;
	const of = (key: keyof Cost) => mean(costs.map((cost) => cost[key]));
	return {
		transformerFlops: of("transformerFlops"),
		decoderFlops: of("decoderFlops"),
		tokenRows: of("tokenRows"),
		keyValueBytes: of("keyValueBytes"),
	};
}

function qualityOf(own: readonly PictureLine[], exact: readonly PictureLine[]): Quality | null {
	const key = ({ prompt, n }: PictureLine) => `${prompt} ${n}`;
	const byKey = new Map(exact.map((line) => [key(line), line]));
	const pairs = own.flatMap((line) =>
		byKey.has(key(line)) ? [{ line, exact: byKey.get(key(line)) as PictureLine }] : [],
	);
	if (pairs.length === 0) return null;
	// In the order of the list, so that the same lines give the same numbers in whatever order they came.
	const prompts = [...Map.groupBy(pairs, ({ line }) => line.prompt)].sort(([a], [b]) => a - b).map(([, of]) => of);
	const judged = (of: "line" | "exact") =>
		prompts.map((seeds): Judged => ({ category: seeds[0].line.category, right: seeds.map((pair) => pair[of].right) }));
	return {
		...scoreOf(judged("line")),
		prompts: prompts.length,
		pictures: pairs.length,
		difference: pairedBootstrap(judged("line"), judged("exact")),
		psnr: psnr(mean(pairs.map(({ line }) => (line.psnr === null ? 0 : 255 ** 2 / 10 ** (line.psnr / 10))))),
		ssim: mean(pairs.map(({ line }) => line.ssim)),
		presence: presenceOf(pairs),
	};
}

function presenceOf(pairs: readonly { line: PictureLine; exact: PictureLine }[]): Presence | null {
	const both = pairs.flatMap(({ line, exact }) =>
		Object.entries(line.present ?? {}).flatMap(([object, own]) =>
			exact.present ? [{ own, exact: exact.present[object] }] : [],
		),
	);
	if (both.length === 0) return null;
	const share = (of: "own" | "exact") => both.filter((pair) => pair[of]).length / both.length;
	return { objects: both.length, found: share("own"), baseline: share("exact") };
}

function baselineSpeed(timings: readonly TimingLine[]): Summary["speedup"] {
	return {
		transformer: 1,
		total: 1,
		decode: timings.length > 0 ? median(timings.map(({ exact, decode }) => Math.min(1, decode / exact))) : 0,
	};
}

function speedupOf(timings: readonly TimingLine[]): Summary["speedup"] {
	if (timings.length === 0) return null;
	// Where the decoder took longer than a whole picture, the machine was disturbed: at least a hundredth of it is the
	// transformer.
	const transformer = (whole: number, decode: number) => Math.max(whole - decode, whole / 100);
	return {
		transformer: median(timings.map(({ exact, own, decode }) => transformer(exact, decode) / transformer(own, decode))),
		total: median(timings.map(({ exact, own }) => exact / own)),
		decode: median(timings.map(({ own, decode }) => Math.min(1, decode / own))),
	};
}
