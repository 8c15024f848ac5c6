/** Which policies are offered first, and in which words: from what was measured of the model. */
import type { ModelInfo, Trade } from "../protocol/model-info.ts";

export interface PolicyEntry {
	name: string;
	title: string;
	/** Schedules it can plan, by model. */
	models: Record<string, string[]>;
}

export interface Offer {
	policy: string;
	title: string;
	trade?: Trade;
	/** Exact, Balanced or Fast: those that are offered first. */
	word?: "Exact" | "Balanced" | "Fast";
	/** A policy that is at least as good and as fast, and better in one of the two. */
	beatenBy?: string;
}

/** Of the score of `exact`, what a choice must keep: surely to be called balanced, at all to be called fast. */
const KEPT = { Balanced: 0.9, Fast: 0.5 } as const;
/** How many times faster than Balanced a choice must be to be another one. */
const FASTER = 1.2;
/** Where nothing was measured: published policies with the least and the most left out. */
const UNMEASURED = { Balanced: "stagevar-auto", Fast: "stagevar-released" } as const;

/**
 * Every policy that can plan the model's schedule, those with a word first. Of those that none beats in both, Balanced
 * and Fast keep most score for their speed: the one among policies that surely are nearly as good as exact, the other
 * among those that are clearly faster still, and not broken.
 */
export function offersOf(model: ModelInfo, schedule: string, policies: readonly PolicyEntry[]): Offer[] {
	const usable = policies.filter(({ models }) => models[model.id]?.includes(schedule));
	const offers: Offer[] = usable.map(({ name: policy, title }) => {
		const trade = model.trades?.[policy];
		const better = usable.find((other) => trade && beats(model.trades?.[other.name], trade));
		return { policy, title, trade, beatenBy: better?.name };
	});
	const call = (word: Offer["word"], policy: string | undefined) => {
		const offer = offers.find((offer) => offer.policy === policy && offer.word === undefined);
		if (offer) offer.word = word;
	};
	call("Exact", "exact");
	const exact = model.trades?.exact;
	if (exact) {
		const faster = offers.filter(({ trade, beatenBy }) => trade && !beatenBy && trade.speedup > exact.speedup);
		const balanced = worthMost(faster, (trade) => surely(trade, exact) >= KEPT.Balanced * exact.score);
		call("Balanced", balanced?.policy);
		const than = FASTER * (balanced?.trade ?? exact).speedup;
		const fast = worthMost(faster, ({ score, speedup }) => score >= KEPT.Fast * exact.score && speedup >= than);
		call("Fast", fast?.policy);
	} else for (const [word, policy] of Object.entries(UNMEASURED)) call(word as Offer["word"], policy);
	const order = ["Exact", "Balanced", "Fast", undefined];
	return offers.toSorted((a, b) => order.indexOf(a.word) - order.indexOf(b.word));
}

/** The most score times speed. */
function worthMost(offers: readonly Offer[], may: (trade: Trade) => boolean): Offer | undefined {
	const worth = ({ trade }: Offer) => (trade ? trade.score * trade.speedup : 0);
	return offers.filter(({ trade }) => trade && may(trade)).toSorted((a, b) => worth(b) - worth(a))[0];
}

/** The score that it has at least, with the certainty of the measurement, where that is known. */
const surely = ({ score, lower }: Trade, exact: Trade): number => (lower === undefined ? score : exact.score + lower);

function beats(a: Trade | undefined, b: Trade): boolean {
	return (
		a !== undefined && a.score >= b.score && a.speedup >= b.speedup && (a.score > b.score || a.speedup > b.speedup)
	);
}

/** Score and speed in a few characters. */
export function tradeInBrief({ score, speedup }: Trade): string {
	return `${score.toFixed(2)} · ${speedup.toFixed(1)}×`;
}

/** Where the figures come from, and whether that is the adapter at work now. */
export function measuredOn(model: ModelInfo, adapters: readonly string[]): string {
	const trade = Object.values(model.trades ?? {})[0];
	if (!trade) return `No policy was measured on ${model.id}: score and speed are not known.`;
	const prompts = trade.prompts ? ` over ${trade.prompts} prompts` : "";
	const figures = `Score (GenEval) and speed, measured${prompts}`;
	if (!trade.adapter) return `${figures}.`;
	const here = `${figures} on ${brief(trade.adapter)}`;
	if (adapters.length === 0 || adapters.includes(trade.adapter)) return `${here}.`;
	return `${here}; speeds differ on ${adapters.map(brief).join(", ")}, at work now.`;
}

/** The adapter's name without its driver. */
const brief = (adapter: string): string => adapter.replace(/ (\(|driver ).*$/, "");
