/** Reduced spans: stretches of sublayers on few tokens, which is what the reductions of a step come down to. */
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import type { Graph } from "../../families/family.ts";
import type { Reduction, RunStep, StagePlan } from "../../protocol/plan.ts";

/** A stretch of sublayers, counted from the first block's first on, that runs on few tokens. */
export interface Span {
	readonly from: number;
	readonly to: number;
	readonly reduction: Reduction;
}

/** The spans of every step of a plan, in order. `sublayers`: of a block. */
export const spansByScale = ({ steps }: StagePlan, sublayers: number): Span[][] =>
	steps.map((step) => (step.kind === "run" ? spansOf(step, sublayers) : []));

function spansOf({ reduce }: RunStep, sublayers: number): Span[] {
	return reduce.flatMap((reduction) => {
		const [first, end] = reduction.blocks.map((block) => block * sublayers);
		const length = { span: end - first, block: sublayers, sublayer: 1 }[reduction.each];
		return Array.from({ length: (end - first) / length }, (_, i) => ({
			from: first + i * length,
			to: first + (i + 1) * length,
			reduction,
		}));
	});
}

/** Block and name of a sublayer, counted from the first block's first on. */
export function sublayerAt({ sublayers }: Pick<Graph, "sublayers">, at: number): { block: number; name: string } {
	return { block: Math.floor(at / sublayers.length), name: sublayers[at % sublayers.length].name };
}

/** What a span needs of an earlier scale: the residual stream at `to`, or its change since `from`. */
export interface Source {
	readonly scale: number;
	readonly from: number | undefined;
	readonly to: number;
}

/** What a scale leaves for later ones to fill from. */
export interface Retained extends Source {
	/** [rows * codes, width] */
	readonly tensor: Tensor;
	/** Guidance rows it has, once it is there. */
	rows: readonly number[];
}

/** What a span needs of an earlier scale, where it needs something. */
export function sourceOf({ from, to, reduction: { rest } }: Span): Source | undefined {
	return typeof rest === "string" ? undefined : { scale: rest.from, from: rest.of === "change" ? from : undefined, to };
}
export const sourceKey = ({ scale, from, to }: Source): string => [scale, from, to].join(":");

/** What the spans of a plan fill from. */
export const sourcesIn = (plan: StagePlan, sublayers: number): Source[] =>
	spansByScale(plan, sublayers)
		.flat()
		.flatMap((span) => sourceOf(span) ?? []);

/** Leaves the tokens that are not selected out of the scale. */
export const skipsOthers = (span: Span | undefined): boolean => span?.reduction.rest === "skip";

/** The tokens that are not selected keep their own residual stream. */
export const passesOthers = ({ reduction: { rest } }: Span): boolean =>
	rest === "residual" || (typeof rest !== "string" && rest.of === "change");
