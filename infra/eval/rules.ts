/** GenEval's rules (Ghosh, Hajishirzi, Schmidt 2023, arXiv 2310.11513): is a picture what its prompt asks for? */
import type { Prompt } from "./prompts.ts";

/** An object found. Place of its centre and its side are fractions of the picture's. */
export interface Detection {
	name: string;
	score: number;
	x: number;
	y: number;
	size: number;
	color: string;
}
export type Relation = "left of" | "right of" | "above" | "below";

/**
 * A count must not be reached by doubtful detections, so it is read at a higher threshold (GenEval: 0.9 beside 0.3 for
 * its detector).
 */
export const THRESHOLD = 0.3;
export const COUNTING_THRESHOLD = 0.5;
/** Share of both sides by which centres must differ before it counts as a place. */
const POSITION_SLACK = 0.1;

/** Where a is, seen from b. */
export function relations(
	a: Pick<Detection, "x" | "y" | "size">,
	b: Pick<Detection, "x" | "y" | "size">,
): Set<Relation> {
	const [dx, dy] = [a.x - b.x, a.y - b.y];
	const distance = Math.hypot(dx, dy);
	const found = new Set<Relation>();
	if (distance === 0) return found;
	const slack = POSITION_SLACK * (a.size + b.size);
	const [right, down] = [dx, dy].map((d) => (Math.max(Math.abs(d) - slack, 0) / distance) * Math.sign(d));
	if (right < -0.5) found.add("left of");
	if (right > 0.5) found.add("right of");
	if (down < -0.5) found.add("above");
	if (down > 0.5) found.add("below");
	return found;
}

/** `detections` may be in any order and below the thresholds. */
export function isRight(
	detections: readonly Detection[],
	{ tag, include, exclude = [] }: Pick<Prompt, "tag" | "include" | "exclude">,
): boolean {
	const threshold = tag === "counting" ? COUNTING_THRESHOLD : THRESHOLD;
	const sure = detections.filter(({ score }) => score > threshold).toSorted((a, b) => b.score - a.score);
	const found = Map.groupBy(sure, ({ name }) => name);
	const groups: (Detection[] | null)[] = [];
	for (const { class: name, count, color, position } of include) {
		const group = (found.get(name) ?? []).slice(0, count);
		let good = group.length >= count && (color === undefined || group.every((object) => object.color === color));
		if (good && position) {
			const [relation, target] = position;
			good = groups[target]?.every((other) => group.every((object) => relations(object, other).has(relation))) ?? false;
		}
		groups.push(good ? group : null);
	}
	return (
		groups.every((group) => group !== null) &&
		exclude.every(({ class: name, count }) => (found.get(name)?.length ?? 0) < count)
	);
}
