/** The harness finds what it is for: a purpose-made server does one thing wrong, and is told so by its class. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { steady } from "./arrivals.ts";
import { findingsOf, hintsOf } from "./findings.ts";
import { type FaultClass, LIMITS } from "./judge.ts";
import { Mix, type Transport } from "./mix.ts";
import { type Plan, type Run, run } from "./run.ts";
import { summaryOf } from "./summary.ts";
import { DEEDS, type Deed, FaultyServer } from "./testing/faulty-server.ts";
import { settleUsable } from "./usable.ts";

const HOLD_MS = 400;
const never = new AbortController().signal;
let server: FaultyServer;
beforeAll(async () => {
	server = await FaultyServer.start({ holdMs: HOLD_MS });
});
afterAll(async () => {
	await server?.[Symbol.asyncDispose]();
});

const plan = (of: Partial<Plan>): Plan => ({
	model: { kind: "closed", readers: 1, thinkMs: 0 },
	seconds: 1,
	warmupSeconds: 0,
	seed: 1,
	mix: Mix.parse({}),
	prompts: ["nothing"],
	keepShare: 1,
	...of,
});
const target = (url: string, timeoutMs = 5000) => ({ url, keys: {}, timeoutMs });

/** A run of a single request. */
const once: Plan["model"] = { kind: "open", profile: steady(1, 1), arrival: { process: "constant" }, maxInFlight: 1 };

/** One request, of a server that does such a thing. */
async function asked(deed: Deed, transport: Transport, limits: Plan["limits"] = {}, timeoutMs?: number): Promise<Run> {
	const mix = Mix.parse({ requests: [{ transport, prompts: deed, format: "png" }] });
	const made = await run(plan({ model: once, mix, limits }), target(server.url, timeoutMs), never);
	await settleUsable(made.samples, 0.9, never);
	return made;
}

const classes = ({ samples }: Run): FaultClass[] => [
	...new Set(samples.flatMap(({ judgement }) => judgement.faults.map((fault) => fault.class))),
];

/** What each deed is told as, by bare HTTP, which mends nothing. */
const TOLD: Record<Deed, FaultClass[]> = {
	nothing: [],
	"drop an event": ["event_lost"],
	"drop a scale and renumber": ["event_lost"],
	"repeat an event": ["event_repeated"],
	"swap two events": ["event_misordered"],
	"repeat the picture after the end": ["event_misordered"],
	"send another job's event": ["event_foreign"],
	stall: ["stalled"],
	"delay a scale": ["late_delivery"],
	"truncate an event": ["truncated"],
	"truncate the connection": ["truncated"],
	"truncate a picture": ["truncated"],
	"cut the base64": ["truncated"],
	"close early": ["incomplete"],
	"close early, then be away for a moment": ["incomplete"],
	"lie about the hash": ["hash_mismatch"],
	"draw another seed": ["seed_mismatch"],
	"damage a picture": ["picture_damaged"],
	"send no picture at all": ["picture_damaged"],
	"garble an event": ["event_malformed"],
	"forget an id": ["event_malformed"],
	"answer with a page": ["wrong_type"],
	refuse: [],
	"refuse without a hint": ["refused_without_hint"],
	"refuse too long": [],
	fail: ["failed"],
	"never answer": ["timeout"],
};

describe("a planted fault is told by its class, and by no other", () => {
	it.each(DEEDS)("%s", async (deed) => {
		// The same silence is a stall or a late scale, by what is asked for.
		const limits = deed === "stall" ? { silenceMs: 200 } : { lateMs: 200 };
		const made = await asked(deed, "raw", limits, deed === "never answer" ? 300 : undefined);
		expect(made.samples).toHaveLength(1);
		expect(classes(made)).toEqual(TOLD[deed]);
	});

	it.each<[Deed, FaultClass[]]>([
		["nothing", []],
		["drop an event", ["event_lost"]],
		["close early", ["incomplete"]],
	])("OpenAI's route: %s", async (deed, told) => {
		expect(classes(await asked(deed, "openai"))).toEqual(told);
	});

	it("where nobody listens", async () => {
		const made = await run(plan({ model: once }), target("http://127.0.0.1:9"), never);
		expect(classes(made)).toEqual(["unreachable"]);
		expect(made.samples[0].judgement.outcome).toBe("unreachable");
	});
});

describe("the typed client mends what can be mended, and the fault is told all the same", () => {
	it.each<[Deed, FaultClass[]]>([
		["drop an event", ["event_lost"]],
		["truncate the connection", ["truncated"]],
		["truncate an event", ["truncated"]],
		["close early", ["incomplete"]],
	])("%s", async (deed, told) => {
		const begun = server.begun;
		const made = await asked(deed, "client");
		const [{ trace, judgement }] = made.samples;
		expect(classes(made)).toEqual(told);
		expect(judgement.outcome).toBe("completed");
		expect(judgement.reconnects).toBe(1);
		// Whatever was lost came at last, once each, and no second picture was begun.
		expect([...new Set(trace.frames.map(({ id }) => id?.n))].sort()).toEqual([0, 1, 2, 3, 4, 5]);
		expect(server.begun).toBe(begun + 1);
	});

	it("a picture under way is come back for, also when the edge is away for a moment", async () => {
		const made = await asked("close early, then be away for a moment", "client");
		const [{ judgement }] = made.samples;
		expect(judgement).toMatchObject({ outcome: "completed", reconnects: 2 });
		expect(classes(made)).toEqual(["incomplete"]);
	});

	it("an event that comes twice is yielded once", async () => {
		const made = await asked("repeat an event", "client");
		expect(classes(made)).toEqual(["event_repeated"]);
		expect(made.samples[0].judgement.outcome).toBe("completed");
	});
});

describe("readers that misbehave are not the edge's fault", () => {
	const readers = async (reader: object, transport: Transport, prompt: Deed = "nothing") => {
		const mix = Mix.parse({ requests: [{ transport, prompts: prompt, format: "png" }], readers: [reader] });
		return await run(plan({ model: once, mix, limits: { silenceMs: 150 } }), target(server.url), never);
	};

	it.each<Transport>(["client", "raw"])(
		"reconnect, by %s: resumed, with nothing lost or repeated",
		async (transport) => {
			const made = await readers({ kind: "reconnect", afterEvents: 2, times: 2 }, transport);
			const [{ judgement }] = made.samples;
			expect(judgement).toMatchObject({ outcome: "completed", faults: [], reconnects: 2 });
		},
	);

	it("OpenAI's stream cannot be come back to: who would, stays", async () => {
		const made = await readers({ kind: "reconnect", afterEvents: 1 }, "openai");
		expect(made.samples[0].judgement).toMatchObject({ outcome: "completed", faults: [], reconnects: 0 });
	});

	it.each<Transport>(["client", "raw"])("cancel, by %s", async (transport) => {
		const made = await readers({ kind: "cancel", afterMs: 20 }, transport, "stall");
		expect(made.samples[0].judgement).toMatchObject({ outcome: "cancelled", faults: [] });
	});

	it.each<Transport>(["client", "raw"])("vanish, by %s: hangs, then goes", async (transport) => {
		const made = await readers({ kind: "vanish", afterMs: 5, hangMs: 200 }, transport);
		const [{ trace, judgement }] = made.samples;
		expect(judgement).toMatchObject({ outcome: "vanished", faults: [] });
		expect(trace.ended - (trace.left?.at ?? 0)).toBeGreaterThan(190);
	});

	it("slow: takes as long as its bytes take", async () => {
		const made = await readers({ kind: "slow", bytesPerSecond: 20_000 }, "raw");
		const [{ judgement }] = made.samples;
		expect(judgement).toMatchObject({ outcome: "completed", faults: [] });
		expect(judgement.fromSent.end).toBeGreaterThan((judgement.bytes / 20_000) * 1000 - 50);
	});
});

describe("a server that answers late only under load", () => {
	const SERVICE_MS = 20;
	const OFFERED = 100;
	const SECONDS = 1;
	const judged = { usable: 0.9, ...LIMITS, timeoutMs: 20_000 };
	const about = { url: "", goodput: { final: 500 }, judged, versions: { adapters: [], models: [] }, version: "" };
	const measured = async (model: Plan["model"]) => {
		await using slow = await FaultyServer.start({ serviceMs: SERVICE_MS, scaleMs: 0 });
		const made = await run(plan({ model, seconds: SECONDS, keepShare: 0 }), target(slow.url, 20_000), never);
		return { made, summary: summaryOf(made, about) };
	};

	it("one by one, nothing is seen of it", async () => {
		const { made, summary } = await measured({ kind: "closed", readers: 1, thinkMs: 0 });
		// A tenth of what waits when requests come at their times.
		expect(summary.metrics.first_event.percentiles.p50?.value).toBeLessThan(5 * SERVICE_MS);
		expect(findingsOf(made.samples)).toEqual([]);
	});

	it("at twice what it holds, times are counted from when requests were due, and the growth is told", async () => {
		const { made, summary } = await measured({
			kind: "open",
			profile: steady(OFFERED, SECONDS),
			arrival: { process: "constant" },
			maxInFlight: 1000,
		});
		// The i-th request waits for the i before it: (i + 1) services, less the time since the first.
		const due = (i: number) => (i + 1) * SERVICE_MS - (i * 1000) / OFFERED;
		const times = made.samples.map(({ judgement }) => judgement.fromIntended.first_event as number);
		expect(times).toHaveLength(OFFERED * SECONDS);
		expect(Math.max(...times)).toBeGreaterThan(0.95 * due(OFFERED * SECONDS - 1));
		expect(summary.metrics.first_event.percentiles.p50?.value).toBeGreaterThan(0.95 * due((OFFERED * SECONDS) / 2));
		expect(summary.findings.map((finding) => finding.class)).toEqual([
			"late_under_load",
			"late_under_load",
			"unsteady",
		]);
		expect(summary.rates.offered).toBeCloseTo(OFFERED, 0);
		expect(summary.rates.completed).toBeLessThan(0.65 * OFFERED);
		expect(summary.rates.attainment).toBeLessThan(0.9);
	});

	it("a cap skips and counts, and the run is not valid", async () => {
		const { made, summary } = await measured({
			kind: "open",
			profile: steady(OFFERED, SECONDS),
			arrival: { process: "poisson" },
			maxInFlight: 5,
		});
		expect(Math.max(...made.samples.map(({ trace }) => trace.inFlight))).toBeLessThan(5);
		expect(summary.counts.skipped).toBe(made.skipped.length);
		expect(made.skipped.length).toBeGreaterThan(20);
		expect(summary.valid).toBe(false);
		expect(summary.reasons.join(" ")).toMatch(/\d+ requests were not sent, since too many were under way/);
	});

	it("a fault that shows under load alone is found under load alone", async () => {
		await using faulty = await FaultyServer.start({ underLoad: 3, scaleMs: 20 });
		const mix = Mix.parse({ requests: [{ transport: "raw", prompts: "repeat an event", format: "png" }] });
		const under = async (readers: number) =>
			classes(
				await run(
					plan({ mix, model: { kind: "closed", readers, thinkMs: 0 }, seconds: 0.2 }),
					target(faulty.url),
					never,
				),
			);
		expect(await under(2)).toEqual([]);
		expect(await under(6)).toEqual(["event_repeated"]);
	});
});

it("Retry-After is held against when the next request was let in", async () => {
	const mix = Mix.parse({
		requests: ["refuse", "refuse too long", "refuse without a hint", "nothing"].map((prompts) => ({
			transport: "raw",
			prompts,
			format: "png",
		})),
	});
	const model = { kind: "closed", readers: 4, thinkMs: 0 } as const;
	const { samples } = await run(plan({ mix, model, seconds: 1 }), target(server.url), never);
	const hints = hintsOf(samples);
	expect(hints.right).toBeGreaterThan(0);
	expect(hints.tooLong).toBeGreaterThan(0);
	expect(hints.missing).toBeGreaterThan(0);
	expect(hints.tooShort).toBe(0);
	const refused = samples.filter(({ judgement }) => judgement.outcome === "refused").length;
	expect(hints.right + hints.tooLong + hints.missing + hints.unknown).toBe(refused);
});

it("the first usable preview is the first that looks like the picture", async () => {
	const { samples } = await asked("nothing", "raw");
	const [{ trace, judgement }] = samples;
	const scales = trace.frames.filter(({ type }) => type === "scale");
	const at = scales.findIndex((frame) => frame.at - trace.intended === judgement.fromIntended.usable);
	// Copies of 8, 16, 32 and 64 pixels: the first is mush, the last the picture itself.
	expect(at).toBeGreaterThan(0);
	expect(at).toBeLessThan(4);
});
