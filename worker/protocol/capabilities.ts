/** What a picture asks of a worker, and what a worker says it can do: names, and one that is not known does no harm. */
import type { JobRequest } from "./job.ts";
import { outcomesOf } from "./plan.ts";

/**
 * What workers could do before they said so. Never added to: a later ability is one that such a worker does not have.
 */
export const FIRST_CAPABILITIES = [
	"png",
	"webp",
	"jpeg",
	"size",
	"until",
	"trunk",
	"text-guidance",
	"confidence",
	"decide-high-frequency",
	"decide-picture",
	"reduce-norm-sampled",
	"reduce-kept",
] as const;

/** What a worker of this release can do. */
export const CAPABILITIES: readonly string[] = [...FIRST_CAPABILITIES, "trunk-before"];

/** What a worker must be able to do to make a picture, whatever its plan turns out to be. */
export function needsOf({ plan, format, until, trunk }: Pick<JobRequest, "plan" | "format" | "until" | "trunk">) {
	const needs = new Set<string>([format.type]);
	if (format.size) needs.add("size");
	if (until !== undefined) needs.add("until");
	if (trunk) needs.add("trunk");
	if (trunk?.before) needs.add("trunk-before");
	if (plan.decide) needs.add(`decide-${plan.decide.measure}`);
	for (const step of outcomesOf(plan).flatMap(({ steps }) => steps)) {
		if (step.kind !== "run") continue;
		if (step.textGuidance !== undefined) needs.add("text-guidance");
		if (typeof step.tau === "object") needs.add("confidence");
		for (const { write } of step.reduce) needs.add(`reduce-${write}`);
	}
	return [...needs].sort();
}
