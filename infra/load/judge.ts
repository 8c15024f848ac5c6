/** What became of a request and what was wrong with it: pure functions of its trace. */
import type { ConnectionTrace, FrameTrace, Trace } from "./trace.ts";

/** Everything that can be wrong with a stream, each by a name of its own. */
export const FAULTS = {
	event_lost: "an event between others, or a scale that was said to come, did not come",
	event_repeated: "an event came twice on one connection, or again after it was resumed behind it",
	event_misordered: "an event came after one that it should have come before",
	event_foreign: "an event of another job came",
	event_malformed: "an event fits no schema",
	incomplete: "the stream was closed in good order before the picture, or an error, was there",
	truncated: "the connection, an event or a picture broke off in its midst",
	picture_damaged: "what came is no whole picture of the kind that was asked for",
	hash_mismatch: "the picture's bytes are not those that its sha256 names",
	seed_mismatch: "the picture is of another seed than was asked for",
	picture_differs: "equal requests under one numerics id gave different bytes",
	stalled: "not a byte came for longer than is allowed, comments included",
	late_delivery: "a scale came much later than the time that it took to make",
	timeout: "it had not ended when its time was over",
	unreachable: "no connection was made, or no answer came",
	wrong_type: "the answer is no event stream",
	refused_without_hint: "it was refused for now, without a Retry-After",
	failed: "the job ended with an error",
} as const;
export type FaultClass = keyof typeof FAULTS;
export interface Fault {
	class: FaultClass;
	detail: string;
}

export interface Limits {
	/** Longest silence on a connection, in milliseconds: the edge breaks silence with comments. */
	silenceMs: number;
	/** A scale may come so much later after the one before than it took to make. */
	lateMs: number;
}
export const LIMITS: Limits = { silenceMs: 5000, lateMs: 1000 };

export type Outcome =
	| "completed"
	| "refused"
	| "failed"
	| "broken"
	| "cancelled"
	| "vanished"
	| "unreachable"
	| "timeout";

/** Milliseconds; null where it did not come to that. */
export interface Times {
	acknowledged: number | null;
	first_event: number | null;
	first_preview: number | null;
	usable: number | null;
	final: number | null;
	end: number;
}

export interface Judgement {
	outcome: Outcome;
	faults: Fault[];
	/** From when it was meant to be sent. */
	fromIntended: Times;
	/** From when it was sent. */
	fromSent: Times;
	/** Sent minus intended: the harness's own lag. */
	lag: number;
	/** Of each scale that came, from the intended start. */
	scales: { index: number; at: number; milliseconds: number; bytes: number | null }[];
	/** Between one event with a picture and the next, within one connection. */
	gaps: number[];
	/** On the worker, from lease to the finished picture; and the rest of the time from sending to the picture. */
	service: number | null;
	wait: number | null;
	bytes: number;
	policy: string | null;
	job: string | null;
	refusedWith: { status: number; code: string; retryAfter: number | null } | null;
	errorCode: string | null;
	/** Of the final picture. */
	sha256: string | null;
	reconnects: number;
}

export function judge(trace: Trace, limits: Limits = LIMITS): Judgement {
	const { frames, connections, asked } = trace;
	const final = frames.find(({ type }) => type === "final");
	const failed = frames.find(({ type, id }) => type === "error" && (id !== null || asked.transport === "openai"));
	const outcome = outcomeOf(trace, final, failed);
	const faults = [
		...numberFaults(trace),
		...orderFaults(trace, final),
		...pictureFaults(trace, final),
		...timeFaults(trace, limits),
		...endFaults(trace, outcome, failed),
	];
	const from = (start: number): Times => ({
		acknowledged: since(start, connections[0]?.acknowledged),
		first_event: since(start, frames[0]?.at),
		first_preview: since(start, frames.find(({ picture }) => picture && picture.problem === null)?.at),
		// Settled once the run is over and the pictures are looked at.
		usable: null,
		final: since(start, final?.at),
		end: trace.ended - start,
	});
	const service = final?.final?.milliseconds ?? null;
	return {
		outcome,
		faults,
		fromIntended: from(trace.intended),
		fromSent: from(trace.sent),
		lag: trace.sent - trace.intended,
		scales: frames.flatMap(({ scale, at, picture }) =>
			scale
				? [
						{
							index: scale.index,
							at: at - trace.intended,
							milliseconds: scale.milliseconds,
							bytes: picture?.bytes ?? null,
						},
					]
				: [],
		),
		gaps: gapsOf(frames),
		service,
		wait: final && service !== null ? Math.max(0, final.at - trace.sent - service) : null,
		bytes: connections.reduce((sum, { bytes }) => sum + bytes, 0),
		policy: frames.find(({ plan }) => plan)?.plan?.policy ?? null,
		job: frames.find(({ id }) => id)?.id?.job ?? null,
		refusedWith: trace.refused && {
			status: trace.refused.status,
			code: trace.refused.code,
			retryAfter: trace.refused.retryAfter,
		},
		errorCode: failed?.error?.code ?? null,
		sha256: final?.picture?.sha256 ?? null,
		reconnects: Math.max(0, connections.length - 1),
	};
}

function outcomeOf(trace: Trace, final: FrameTrace | undefined, failed: FrameTrace | undefined): Outcome {
	if (final) return "completed";
	if (failed) return "failed";
	if (trace.refused) return "refused";
	if (trace.left) return trace.left.why;
	if (trace.timedOut) return "timeout";
	return trace.connections.some(({ acknowledged }) => acknowledged !== null) ? "broken" : "unreachable";
}

/** Ids count on from the first event, or from the one that a connection was resumed after, without a gap. */
function numberFaults({ frames, connections, asked }: Trace): Fault[] {
	const faults: Fault[] = [];
	const job = frames.find(({ id }) => id)?.id?.job;
	for (const [i, { after }] of connections.entries()) {
		const first = after ? after.n + 1 : 0;
		const seen = new Set<number>();
		let highest = first - 1;
		for (const frame of frames) {
			if (frame.connection !== i) continue;
			if (frame.id && frame.id.job !== job) {
				faults.push({ class: "event_foreign", detail: `an event of job ${frame.id.job.slice(0, 12)}` });
				continue;
			}
			const n = asked.transport === "openai" ? openaiNumber(frame) : numberOf(frame, highest);
			if (n === undefined) continue;
			if (seen.has(n) || n < first) faults.push({ class: "event_repeated", detail: `event ${n}` });
			else if (n < highest) faults.push({ class: "event_misordered", detail: `event ${n} after event ${highest}` });
			seen.add(n);
			highest = Math.max(highest, n);
		}
		for (let n = first; n < highest; n++)
			if (!seen.has(n)) faults.push({ class: "event_lost", detail: `event ${n} of ${highest + 1}` });
	}
	return faults;
}

/** An event that forgot its id is told elsewhere; it has come all the same. The edge's own trouble is no event. */
const numberOf = ({ id, type }: FrameTrace, highest: number): number | undefined =>
	id?.n ?? (type === "error" ? undefined : highest + 1);
/** Partial images are numbered; the finished one is not. */
const openaiNumber = ({ scale }: FrameTrace): number | undefined => scale?.index;

/** Plan first, scales upwards, every step once, nothing after the end: whatever the ids say. */
function orderFaults({ frames, asked }: Trace, final: FrameTrace | undefined): Fault[] {
	const faults: Fault[] = [];
	if (asked.transport === "openai") return faults;
	const steps = new Set<number>();
	// As the last scale says it: a revision of the plan may have left some out.
	let most = 0;
	let [index, connected, ended, planned] = [-1, 0, false, false];
	for (const { type, scale, id, connection } of frames) {
		if (connection !== connected) [index, connected] = [-1, connection];
		if (id === null && type !== "error")
			faults.push({ class: "event_malformed", detail: `a ${type} event without an id` });
		if (ended) faults.push({ class: "event_misordered", detail: `a ${type} event after the end` });
		if (type === "scale" && !planned) faults.push({ class: "event_misordered", detail: "a scale before the plan" });
		planned ||= type === "plan";
		ended ||= type === "final";
		if (!scale) continue;
		// The same event again is told by its id.
		if (scale.index < index) faults.push({ class: "event_misordered", detail: `scale ${scale.index} after ${index}` });
		index = Math.max(index, scale.index);
		steps.add(scale.step);
		most = scale.steps;
	}
	if (!final) return faults;
	// What its number, or its form, has told already is not told again.
	if (hasGap(frames) || frames.some(({ malformed }) => malformed !== null)) return faults;
	for (let step = 1; step <= most; step++)
		if (!steps.has(step)) faults.push({ class: "event_lost", detail: `step ${step} of ${most}` });
	return faults;
}

function hasGap(frames: readonly FrameTrace[]): boolean {
	const known = new Set(frames.flatMap(({ id }) => id?.n ?? []));
	return Math.max(...known) - Math.min(...known) + 1 > known.size;
}

/** As zod says it of base64 that was cut. */
const CUT_BASE64 = /"format": "base64"/;

function pictureFaults({ frames, asked }: Trace, final: FrameTrace | undefined): Fault[] {
	const faults: Fault[] = [];
	for (const { type, malformed, picture, scale } of frames) {
		if (malformed !== null)
			faults.push({ class: CUT_BASE64.test(malformed) ? "truncated" : "event_malformed", detail: malformed });
		if (!picture?.problem) continue;
		const cut = /no end|cut|says \d+ bytes/.test(picture.problem);
		const what = scale ? `scale ${scale.index}` : type;
		faults.push({ class: cut ? "truncated" : "picture_damaged", detail: `${what}: ${picture.problem}` });
	}
	const wanted = `image/${asked.format}`;
	const other = frames.find(({ picture }) => picture && picture.mime !== wanted);
	if (other) faults.push({ class: "picture_damaged", detail: `${other.picture?.mime} in place of ${wanted}` });
	if (final?.final && final.final.sha256 !== null && final.picture && final.picture.problem === null)
		if (final.final.sha256 !== final.picture.sha256)
			faults.push({
				class: "hash_mismatch",
				detail: `${final.picture.sha256.slice(0, 12)} came, ${final.final.sha256.slice(0, 12)} was promised`,
			});
	const seed = final?.final?.seed ?? frames.find(({ plan }) => plan)?.plan?.seed;
	if (seed !== undefined && seed !== asked.seed)
		faults.push({ class: "seed_mismatch", detail: `${seed} in place of ${asked.seed}` });
	return faults;
}

function timeFaults({ frames, connections, asked }: Trace, { silenceMs, lateMs }: Limits): Fault[] {
	const faults: Fault[] = [];
	// A reader that does not read hears nothing; that is its own doing.
	if (asked.reader.kind !== "slow" && asked.reader.kind !== "vanish")
		for (const { silence } of connections)
			if (silence.ms > silenceMs) faults.push({ class: "stalled", detail: `${Math.round(silence.ms)} ms of silence` });
	// OpenAI's events do not say what took how long.
	if (asked.reader.kind === "slow" || asked.reader.kind === "vanish" || asked.transport === "openai") return faults;
	for (let i = 1; i < frames.length; i++) {
		const [before, frame] = [frames[i - 1], frames[i]];
		// The first scale has waited for a worker; after a resumed connection, the reader itself was away.
		if (!before.scale || before.connection !== frame.connection) continue;
		const late = frame.at - before.at - (frame.scale?.milliseconds ?? 0);
		if (late > lateMs && (frame.scale || frame.type === "final"))
			faults.push({ class: "late_delivery", detail: `${frame.type} ${Math.round(late)} ms late` });
	}
	return faults;
}

function endFaults(trace: Trace, outcome: Outcome, failed: FrameTrace | undefined): Fault[] {
	const { connections, frames, refused } = trace;
	const faults: Fault[] = [];
	for (const connection of connections) {
		const wrong = connection.status === 200 && !connection.contentType?.startsWith("text/event-stream");
		if (wrong)
			faults.push({ class: "wrong_type", detail: `${connection.contentType?.slice(0, 60) ?? "no content type"}` });
		if (connection.how === "broken" && connection.acknowledged !== null)
			faults.push({ class: "truncated", detail: `the connection broke: ${connection.problem}` });
		if (connection.how === "ended" && connection.status === 200 && !wrong)
			faults.push(...endedEarly(connection, trace, frames));
	}
	if (outcome === "unreachable") faults.push({ class: "unreachable", detail: connections[0]?.problem ?? "no answer" });
	if (outcome === "timeout") faults.push({ class: "timeout", detail: `${Math.round(trace.ended - trace.sent)} ms` });
	if (failed) faults.push({ class: "failed", detail: `${failed.error?.code}: ${failed.error?.message.slice(0, 200)}` });
	if (refused && [429, 503].includes(refused.status) && refused.retryAfter === null)
		faults.push({ class: "refused_without_hint", detail: `status ${refused.status}` });
	return faults;
}

function endedEarly(connection: ConnectionTrace, trace: Trace, frames: readonly FrameTrace[]): Fault[] {
	if (!connection.wholeEvents) return [{ class: "truncated", detail: "the stream ended within an event" }];
	const own = frames.filter(({ connection: index }) => trace.connections[index] === connection);
	if (own.some(({ type }) => type === "final" || type === "error")) return [];
	return [{ class: "incomplete", detail: `closed after ${own.length} events` }];
}

function gapsOf(frames: readonly FrameTrace[]): number[] {
	const shown = frames.filter(({ picture }) => picture);
	return shown.flatMap((frame, i) =>
		i > 0 && shown[i - 1].connection === frame.connection ? [frame.at - shown[i - 1].at] : [],
	);
}

const since = (start: number, at: number | null | undefined): number | null => (at == null ? null : at - start);
