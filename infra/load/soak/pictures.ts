/** Whether a soak's readers got what they asked for, whatever was broken meanwhile: by the harness's judgements. */
import { findingsOf } from "../findings.ts";
import type { FaultClass } from "../judge.ts";
import type { Sample } from "../run.ts";

/** What was broken on purpose, in milliseconds of the run. */
export interface Disturbance {
	kind: "restart" | "cut";
	from: number;
	to: number;
}

/** No kill and no cut explains these. */
const NEVER: ReadonlySet<FaultClass> = new Set([
	"event_lost",
	"event_repeated",
	"event_misordered",
	"event_foreign",
	"event_malformed",
	"incomplete",
	"picture_damaged",
	"hash_mismatch",
	"seed_mismatch",
	"wrong_type",
	"failed",
	"refused_without_hint",
]);

export interface Pictures {
	requests: number;
	completed: number;
	/** Readers who cancelled or vanished, as they were meant to. */
	left: number;
	/** Told to come back later. */
	refused: number;
	/** Broken with a connection that nobody could take up again, or while nothing ran. */
	excused: number;
	/** The others: each is a fault of the product. */
	lost: { index: number; outcome: string; at: number; why: string }[];
	/** Faults that nothing explains. */
	faults: string[];
	/** Said, not judged: the machine has other work too. */
	slow: { stalled: number; late: number };
}

export function picturesOf(samples: readonly Sample[], disturbances: readonly Disturbance[]): Pictures {
	const of = (outcome: (sample: Sample) => boolean) => samples.filter(outcome).length;
	const open = samples.filter(({ trace, judgement: { outcome } }) => !trace.left && !ENDS.has(outcome));
	const broken = Map.groupBy(open, (sample) => isExcused(sample, disturbances));
	const faults = samples.flatMap(({ trace, judgement }) =>
		judgement.faults
			.filter((fault) => NEVER.has(fault.class))
			.filter((fault) => fault.class !== "failed" || !isExcused({ trace, judgement }, disturbances))
			.map((fault) => `request ${trace.asked.index}, ${fault.class}: ${fault.detail}`),
	);
	const differing = findingsOf(samples).filter((finding) => finding.class === "picture_differs");
	const faulty = (name: FaultClass) => of(({ judgement }) => judgement.faults.some((fault) => fault.class === name));
	return {
		requests: samples.length,
		completed: of(({ judgement }) => judgement.outcome === "completed"),
		left: of(({ trace, judgement }) => trace.left !== null && judgement.outcome !== "completed"),
		refused: of(({ judgement }) => judgement.outcome === "refused"),
		excused: broken.get(true)?.length ?? 0,
		lost: (broken.get(false) ?? []).map(({ trace, judgement }) => ({
			index: trace.asked.index,
			outcome: judgement.outcome,
			at: trace.sent,
			why: trace.problem ?? judgement.faults[0]?.detail ?? "",
		})),
		faults: [...faults, ...differing.map(({ detail }) => `picture_differs: ${detail}`)],
		slow: { stalled: faulty("stalled"), late: faulty("late_delivery") },
	};
}

const ENDS: ReadonlySet<string> = new Set(["completed", "refused"]);

/**
 * While nothing ran, nobody could be served. A cut connection is taken up again by the typed client, once it has an
 * event to go on after; by bare HTTP, nobody does.
 */
function isExcused({ trace, judgement }: Pick<Sample, "trace" | "judgement">, disturbances: readonly Disturbance[]) {
	const firstEvent = trace.intended + (judgement.fromIntended.first_event ?? Number.POSITIVE_INFINITY);
	return disturbances.some(({ kind, from, to }) => {
		if (trace.sent > to || trace.ended < from) return false;
		return kind === "restart" || trace.asked.transport !== "client" || firstEvent > from;
	});
}
