/** What the purpose-made server cannot be asked for: traces written by hand. */
import { expect, it } from "vitest";
import { hintsOf, releaseMs } from "./findings.ts";
import { isGood } from "./goodput.ts";
import { judge, LIMITS } from "./judge.ts";
import type { Asked } from "./mix.ts";
import type { Run, Sample } from "./run.ts";
import { summaryOf } from "./summary.ts";
import { type FrameTrace, Trace } from "./trace.ts";
import { settleUsable } from "./usable.ts";

const asked = (of: Partial<Asked> = {}): Asked => ({
	index: 0,
	transport: "raw",
	prompt: "x",
	seed: 1,
	format: "webp",
	reader: { kind: "steady" },
	...of,
});

const frame = (of: Partial<FrameTrace>): FrameTrace => ({
	at: 0,
	connection: 0,
	id: null,
	type: "scale",
	chars: 10,
	malformed: null,
	picture: null,
	scale: null,
	final: null,
	plan: null,
	error: null,
	...of,
});

/** A trace whose clock is set by hand. */
function traced(of: Partial<Asked>, intended: number, fill: (trace: Trace, at: (ms: number) => void) => void): Sample {
	let now = intended;
	const trace = new Trace(asked(of), intended, false, () => now);
	trace.sent = intended;
	trace.opened(null);
	fill(trace, (ms) => (now = ms));
	trace.closed("ended");
	trace.ended = now;
	return { trace, phase: "measured", judgement: judge(trace) };
}

const picture = { bytes: 100, problem: null, sha256: "a", kept: null, mime: "image/webp" };
const scale = (index: number, milliseconds: number) => ({ index, step: index + 1, steps: 2, milliseconds });

it("a scale is late by what it took longer than it says; of OpenAI's, which say nothing, none is", () => {
	const late = (transport: Asked["transport"]) =>
		traced({ transport }, 0, (trace, at) => {
			trace.answered(200, { "content-type": "text/event-stream" });
			const id = (n: number) => (transport === "openai" ? null : { job: "j", n });
			trace.frames.push(
				frame({ at: 10, id: id(0), type: "plan", plan: { policy: "exact", seed: 1 } }),
				frame({ at: 20, id: id(1), scale: scale(0, 10), picture }),
				frame({ at: 3020, id: id(2), scale: scale(1, 1500), picture }),
				frame({
					at: 3030,
					id: id(3),
					type: "final",
					final: { seed: 1, milliseconds: 1600, sha256: "a", numerics: "n", adapter: "" },
					picture,
				}),
			);
			at(3030);
		}).judgement;
	expect(late("raw").faults).toEqual([{ class: "late_delivery", detail: "scale 1500 ms late" }]);
	expect(late("openai").faults).toEqual([]);
	expect(late("raw")).toMatchObject({ service: 1600, wait: 1430, gaps: [3000, 10], lag: 0 });
	expect(isGood(late("openai"), { final: 3030, gap: 3000 })).toBe(true);
	expect(isGood(late("openai"), { final: 3030, gap: 2999 })).toBe(false);
	expect(isGood(late("raw"), {})).toBe(false);
});

it("a picture whose plan is revised has as many steps as its last scale says, and no other one is excused", () => {
	const faults = (said: readonly (readonly [step: number, steps: number])[]) =>
		traced({}, 0, (trace, at) => {
			trace.answered(200, { "content-type": "text/event-stream" });
			const told: Partial<FrameTrace>[] = [
				{ type: "plan", plan: { policy: "skipvar", seed: 1 } },
				...said.map(([step, steps]) => ({ scale: { index: step - 1, step, steps, milliseconds: 1 }, picture })),
				{ type: "final", final: { seed: 1, milliseconds: 9, sha256: "a", numerics: "n", adapter: "" }, picture },
			];
			trace.frames.push(...told.map((of, n) => frame({ at: n, id: { job: "j", n }, ...of })));
			at(told.length);
		}).judgement.faults.map(({ class: fault, detail }) => `${fault}: ${detail}`);
	expect(
		faults([
			[1, 4],
			[2, 4],
			[3, 3],
		]),
	).toEqual([]);
	expect(
		faults([
			[1, 4],
			[2, 4],
			[3, 4],
		]),
	).toEqual(["event_lost: step 4 of 4"]);
	expect(
		faults([
			[1, 4],
			[3, 3],
		]),
	).toEqual(["event_lost: step 2 of 3"]);
});

it("what goes on for a reader who left is counted from all who left, whatever they had seen", () => {
	const left = (at: number) =>
		traced({ reader: { kind: "cancel", afterMs: at } }, 0, (trace, now) => {
			now(at);
			trace.left = { at, why: "cancelled" };
		});
	const there = traced({}, 0, (_, now) => now(10_000));
	// Three are worked on until second 5 and one after that: the two who left at 1 s and 3 s go on for 4 s and 2 s.
	const health = Array.from({ length: 101 }, (_, i) => ({
		at: i * 100,
		busy: 1,
		queue: i * 100 < 5000 ? 2 : 0,
		slots: 1,
		workers: 1,
	}));
	expect(releaseMs({ health, samples: [there, left(1000), left(3000)] }) as number).toBeCloseTo(3000, -2);
	expect(releaseMs({ health, samples: [there] })).toBeNull();
});

it("a Retry-After is right within a factor of two of when the next of the same key was let in", () => {
	const refused = (retryAfter: number | null, key = "") =>
		traced({ key }, 1000, (trace) => {
			trace.answered(429, {});
			trace.refused = { status: 429, code: "rate_limited", message: "", retryAfter };
		});
	const admitted = traced({}, 11_000, (trace) => void trace.frames.push(frame({ at: 11_010, type: "plan" })));
	const of = (...samples: Sample[]) => hintsOf([...samples, admitted]);
	expect(of(refused(10))).toMatchObject({ right: 1 });
	expect(of(refused(5))).toMatchObject({ right: 1 });
	expect(of(refused(4))).toMatchObject({ tooShort: 1 });
	expect(of(refused(21))).toMatchObject({ tooLong: 1 });
	expect(of(refused(null))).toMatchObject({ missing: 1 });
	expect(of(refused(10, "other"))).toMatchObject({ unknown: 1 });
});

it("attainment is a share of those who meant to stay: whoever would have left counts neither way", () => {
	const made = (kind: "steady" | "vanish", final: number) =>
		traced({ reader: { kind, afterMs: 5000, hangMs: 1 } as Asked["reader"] }, 0, (trace, at) => {
			trace.answered(200, { "content-type": "text/event-stream" });
			const last = { seed: 1, sha256: "a", milliseconds: 10 };
			trace.frames.push(
				frame({ at: 10, id: { job: "j", n: 0 }, type: "plan", plan: { policy: "exact", seed: 1 } }),
				frame({ at: final, id: { job: "j", n: 1 }, type: "final", final: last as FrameTrace["final"], picture }),
			);
			at(final);
		});
	const samples = [made("steady", 100), made("steady", 100), made("steady", 900), made("vanish", 100)];
	expect(samples.map(({ judgement }) => judgement.outcome)).toEqual(Array(4).fill("completed"));
	const run = {
		plan: { model: { kind: "closed", readers: 1, thinkMs: 0 }, seconds: 10, warmupSeconds: 0 },
		begunAt: new Date(),
		samples,
		skipped: [],
		seconds: 10,
		loop: { p99Ms: 1, maxMs: 1, utilization: 0 },
		health: [],
	} as unknown as Run;
	const judged = { usable: 0.9, ...LIMITS, timeoutMs: 20_000 };
	const about = { url: "", goodput: { final: 500 }, judged, versions: { adapters: [], models: [] }, version: "" };
	const { counts, rates } = summaryOf(run, about);
	expect([counts.good, rates.attainment]).toEqual([3, 2 / 3]);
});

it("what was kept to be decoded is left where the run is interrupted, and no error", async () => {
	const sample = traced({}, 0, (trace, at) => {
		trace.frames.push(frame({ at: 5, id: { job: "j", n: 0 }, picture: { ...picture, kept: Buffer.from("none") } }));
		at(9);
	});
	const kept = { ...sample, trace: Object.assign(sample.trace, { keep: true }) };
	await settleUsable([kept], 0.9, AbortSignal.abort());
	expect(kept.judgement.faults.map((fault) => fault.class)).not.toContain("picture_damaged");
	expect(kept.trace.frames[0].picture?.kept).not.toBeNull();
	await settleUsable([kept], 0.9, new AbortController().signal);
	expect(kept.judgement.faults).toContainEqual({ class: "picture_damaged", detail: "scale: no decoder takes it" });
});
