/** Draws that are given in place of the generator's own: what they are called, and whether they are what is read. */
import type { Draws, Graph } from "../../families/family.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { rowsOf } from "./kv-plan.ts";
import { type Span, spansByScale, sublayerAt } from "./spans.ts";

/** Prefix of a span's reference names. */
export const spanName = (graph: Pick<Graph, "names" | "sublayers">, scale: number, { from }: Span): string =>
	`s${scale}.${graph.names.span(sublayerAt(graph, from).block)}`;
/** The matrices and the positions of a span that projects. */
export const matricesName = (span: string): string => `${span}.Q`;
export const positionsName = (span: string): string => `${span}.rep_idx`;

interface Read {
	name: string;
	length: number;
	/** They are positions: whole numbers below it. */
	below?: number;
}

/** All that a plan reads where it is given; `tokens`: of every scale. */
function readsOf(graph: Graph, plan: StagePlan, tokens: readonly number[]): Read[] {
	const spans = spansByScale(plan, graph.sublayers.length);
	return plan.steps.flatMap((step, scale) => {
		if (step.kind === "skip") return [];
		const rows = rowsOf(step).length;
		const projected = spans[scale].flatMap((span): Read[] => {
			const { write, count } = span.reduction;
			// A score selects: nothing is drawn.
			if (write === "kept") return [];
			const name = spanName(graph, scale, span);
			return [
				{ name: matricesName(name), length: rows * tokens[scale] * count },
				{ name: positionsName(name), length: rows * count, below: tokens[scale] },
			];
		});
		const refined = scale === tokens.length - 1 ? graph.residualDraws?.(rows, tokens[scale]) : [];
		return [...projected, ...(refined ?? [])];
	});
}

/**
 * Throws RangeError for draws that are not what these plans read: the device would read beyond them, or write where
 * they point. Where plans read more or less of one, as many as the one that reads most.
 */
export function checkDraws(graph: Graph, draws: Draws, plans: readonly StagePlan[], tokens: readonly number[]): void {
	const reads = Map.groupBy(
		plans.flatMap((plan) => readsOf(graph, plan, tokens)),
		({ name }) => name,
	);
	for (const [name, all] of reads) {
		const given = draws.get(name);
		if (!given) continue;
		const length = Math.max(...all.map(({ length }) => length));
		if (given.length !== length)
			throw new RangeError(`The draws ${name} are ${given.length} numbers; this plan takes ${length}.`);
		const [{ below }] = all;
		if (below === undefined ? given instanceof Float32Array : positionsBelow(given, below)) continue;
		throw new RangeError(
			`The draws ${name} are of the wrong kind; this plan takes ` +
				`${below === undefined ? "floats" : `positions, whole numbers from 0 to ${below - 1}`}.`,
		);
	}
}

const positionsBelow = (given: Float32Array | Int32Array, below: number): boolean =>
	given instanceof Int32Array && given.every((position) => position >= 0 && position < below);
