/** What scales cost: on paper, and predicted from those that were measured. */
import type { RunStep, StagePlan, Step } from "../protocol/plan.ts";

type Grids = readonly (readonly number[])[];

/** Tokens times guidance rows that a step computes; of a scale on few tokens the mean over the blocks. */
export function work(step: Step, [height, width]: readonly number[], blocks: number | undefined): number {
	return step.kind === "skip" ? 0 : height * width * rowsOf(step) * keptShare(step, height * width, blocks);
}

/** The same of a whole plan. */
export function planWork({ steps }: StagePlan, grids: Grids, blocks: number | undefined): number {
	return steps.reduce((sum, step, index) => sum + work(step, grids[index], blocks), 0);
}

export function rowsOf({ rows }: RunStep): number {
	return rows === "both" ? 2 : 1;
}

/** Share of a scale's tokens that go through a block, in the mean. */
export function keptShare(
	{ reduce }: RunStep,
	tokens: number,
	blocks = Math.max(1, ...reduce.map(({ blocks: [, to] }) => to)),
): number {
	return reduce.reduce(
		(share, { blocks: [from, to], count }) => share - ((to - from) / blocks) * (1 - count / tokens),
		1,
	);
}

/** Whether a step leaves nothing out: both guidance rows on all tokens, as `exact` runs it. */
export function isExact(step: Step): boolean {
	return step.kind === "run" && step.rows === "both" && step.reduce.length === 0;
}

/**
 * Milliseconds of every scale, where `measured` has some of them: the measured ones as they are, the others on the line
 * through the measured ones by their work. Undefined while there is nothing to draw a line through.
 */
export function predict(works: readonly number[], measured: ReadonlyMap<number, number>): number[] | undefined {
	const points = [...measured].map(([index, milliseconds]) => [works[index], milliseconds] as const);
	if (points.length === 0) return undefined;
	const line = through(points);
	return works.map((units, index) => measured.get(index) ?? (units === 0 ? 0 : line(units)));
}

/**
 * Milliseconds of every scale under `exact`, from a picture of another plan: scales that ran exactly are as they were,
 * the others on the line through everything measured.
 */
export function predictExact(
	{ steps }: StagePlan,
	grids: Grids,
	blocks: number | undefined,
	measured: ReadonlyMap<number, number>,
): number[] | undefined {
	if (measured.size < 2) return undefined;
	const line = through([...measured].map(([index, ms]) => [work(steps[index], grids[index], blocks), ms] as const));
	return steps.map((step, index) => {
		const [height, width] = grids[index];
		const known = measured.get(index);
		return known !== undefined && isExact(step) ? known : line(2 * height * width);
	});
}

/** Least squares through [work, milliseconds], never below nothing and never falling. */
function through(points: readonly (readonly [number, number])[]): (units: number) => number {
	const n = points.length;
	const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
	const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
	const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
	const slope =
		spread === 0 ? 0 : Math.max(0, points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread);
	const base = Math.max(0, meanY - slope * meanX);
	return (units) => base + slope * units;
}
