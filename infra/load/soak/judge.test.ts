import { expect, it } from "vitest";
import { judge, LIMITS } from "../judge.ts";
import { randomOf } from "../random.ts";
import { Trace } from "../trace.ts";
import { plannedFaults } from "./faults.ts";
import {
	descriptorVerdicts,
	idleVerdicts,
	type Life,
	livesOf,
	memoryVerdicts,
	type Reading,
	stateVerdicts,
	theilSen,
} from "./judge.ts";
import { type Disturbance, picturesOf } from "./pictures.ts";
import type { ProcessSample } from "./processes.ts";

const MIB = 2 ** 20;
const HOUR = 3600;

/** Resident memory every ten seconds: a heap that fills up and is collected, on top of 300 MiB and what `of` adds. */
function life(seconds: number, of: (at: number) => number): Life {
	const random = randomOf(7, "garbage");
	const points = Array.from({ length: seconds / 10 }, (_, i) => {
		const garbage = ((i * 3) % 17) + 4 * random();
		return { at: i * 10, value: (300 + garbage + of(i * 10)) * MIB };
	});
	return { kind: "worker", name: "worker 0", pid: 1, points };
}

/** A small process without garbage to speak of: 100 MiB and what `of` adds. */
function leveled(of: (at: number) => number, seconds = HOUR): Life {
	const points = Array.from({ length: seconds / 10 }, (_, i) => ({ at: i * 10, value: (100 + of(i * 10)) * MIB }));
	return { kind: "start", name: "start", pid: 1, points };
}

it("Theil and Sen's slope of a line is the line's, whatever a few points are", () => {
	const points = Array.from({ length: 50 }, (_, i) => ({ at: i, value: 3 * i + (i % 10 === 4 ? 1000 : 0) }));
	const { value, lower, upper } = theilSen(points)!;
	expect(value).toBe(3);
	expect(lower).toBeLessThanOrEqual(3);
	expect(upper).toBeGreaterThanOrEqual(3);
	expect(theilSen(points.slice(0, 2))).toBeNull();
});

it.each([
	["garbage alone", life(HOUR, () => 0), true],
	["a leak of 8 MiB an hour below it", life(HOUR, (at) => (8 * at) / HOUR), false],
	["a leak of 40 MiB an hour below it", life(HOUR, (at) => (40 * at) / HOUR), false],
	["a leak of 50 MiB an hour below it", life(HOUR, (at) => (50 * at) / HOUR), false],
	["a leak of 50 MiB an hour that begins late", life(HOUR, (at) => Math.max(0, (50 * (at - 1800)) / HOUR)), false],
	[
		"a leak of 50 MiB an hour below caches that fill up",
		life(HOUR, (at) => 80 * (1 - Math.exp(-at / 600)) + (50 * at) / HOUR),
		false,
	],
	["a leak of 8 MiB an hour on a level floor", leveled((at) => (8 * at) / HOUR), false],
	["a leak of a MiB with every third fault", leveled((at) => Math.floor(at / 900)), false],
	["caches that fill for most of an hour, then no more", leveled((at) => 4 * Math.min(1, at / 2300)), true],
	["the same in a life too short to tell", leveled((at) => 4 * Math.min(1, at / 1300), 2000), false],
	["caches that fill in the first minutes", life(HOUR, (at) => 80 * (1 - Math.exp(-at / 200))), true],
	["one burst of a minute", life(HOUR, (at) => (at > 3000 && at < 3060 ? 400 : 0)), true],
	["memory given back", life(HOUR, (at) => -(40 * at) / HOUR), true],
	["a leak that nobody can tell in ten minutes", life(600, (at) => (40 * at) / HOUR), null],
])("memory of %s", (_, of, good) => {
	expect(memoryVerdicts([of])).toMatchObject([{ good }]);
});

it("memory so uneven that a leak could hide in it is not called flat", () => {
	const random = randomOf(3, "uneven");
	let level = 0;
	const [verdict] = memoryVerdicts([
		life(HOUR, (at) => (at % 60 === 0 ? (level = 150 * random()) : level) + (15 * at) / HOUR),
	]);
	expect(verdict).toMatchObject({ good: false });
	expect(verdict.said).toMatch(/run for longer|GROWS/);
});

const process = (more: Partial<ProcessSample>): ProcessSample => ({
	kind: "worker",
	name: "worker 0",
	pid: 10,
	born: 1,
	residentBytes: MIB,
	sockets: 3,
	files: 20,
	cpuMs: 0,
	...more,
});
const state = (more: Partial<Reading["state"]>): Reading["state"] => ({
	files: 30,
	bytes: MIB,
	walBytes: 1000,
	logs: 4,
	databaseBytes: 40_960,
	freeBytes: 0,
	usedBytes: 40_000,
	emptyDatabases: 0,
	rows: { "firstlight-Pool pace": 2 },
	...more,
});
const reading = (phase: Reading["phase"], at: number, of: Partial<Reading>): Reading => ({
	at,
	phase,
	processes: [process({})],
	state: state({}),
	...of,
});
const goodOf = (verdicts: readonly { what: string; good: boolean | null }[]) =>
	Object.fromEntries(verdicts.map(({ what, good }) => [what, good]));

it("a process that was started again has a life of its own, and only the load counts", () => {
	const lives = livesOf([
		reading("before", -10, {}),
		reading("load", 0, {}),
		reading("load", 10, {}),
		reading("load", 20, { processes: [process({ pid: 11, born: 2 })] }),
		reading("idle", 30, { processes: [process({ pid: 11, born: 2 })] }),
	]);
	expect(lives.map(({ pid, points }) => [pid, points.length])).toEqual([
		[10, 2],
		[11, 1],
	]);
});

it("sockets and files have to be back to what they were, whichever process has the name now", () => {
	const before = reading("before", -10, {});
	const busy = reading("load", 5, { processes: [process({ sockets: 40, files: 60 })] });
	const end = (more: Partial<ProcessSample>) => reading("idle", 99, { processes: [process({ pid: 11, ...more })] });
	expect(goodOf(descriptorVerdicts([before, busy, end({})]))).toEqual({
		"sockets of worker 0": true,
		"files of worker 0": true,
	});
	expect(goodOf(descriptorVerdicts([before, busy, end({ sockets: 4 })]))).toMatchObject({
		"sockets of worker 0": false,
	});
	expect(goodOf(descriptorVerdicts([before, busy, end({ files: 21 })]))).toMatchObject({ "files of worker 0": false });
	const away = reading("idle", 99, { processes: [] });
	expect(Object.values(goodOf(descriptorVerdicts([before, busy, away])))).toEqual([false, false]);
});

it("a row, a file or a page that stays is found; free pages and logs are only said", () => {
	const before = reading("before", -10, {});
	const busy = reading("load", 5, {
		state: state({ files: 90, usedBytes: 9e6, rows: { "firstlight-Job event": 60, "firstlight-Pool pace": 2 } }),
	});
	const ended = (more: Partial<Reading["state"]>) =>
		stateVerdicts([before, busy, reading("idle", 99, { state: state(more) })]);
	expect(
		Object.values(
			goodOf(ended({ freeBytes: 8e6, bytes: MIB + 9e6, databaseBytes: 40_960 + 8e6, walBytes: 1e6 + 1000 })),
		),
	).not.toContain(false);
	const row = ended({ rows: { "firstlight-Job event": 1, "firstlight-Pool pace": 2 } });
	expect(goodOf(row)).toMatchObject({ rows: false });
	expect(row[0].said).toContain("firstlight-Job event: 0, 1");
	expect(goodOf(ended({ files: 31 }))).toMatchObject({ "files on disk": false });
	expect(goodOf(ended({ usedBytes: 44_096 }))).toMatchObject({ "bytes in databases": false });
	expect(goodOf(ended({ bytes: 2 * MIB }))).toMatchObject({ "bytes in other files": false });
	expect(goodOf(ended({ bytes: 100 * MIB, walBytes: 99 * MIB }))).toMatchObject({ "logs of databases": false });
});

it("what is there at one look of the last minute alone has not stayed; what is there at each has", () => {
	const before = reading("before", -10, {});
	const idle = (at: number, sockets: number, files: number) =>
		reading("idle", at, {
			processes: [process({ sockets })],
			state: state({ files, rows: { "firstlight-Pool pace": files - 28 } }),
		});
	const good = (...idles: Reading[]) =>
		[...descriptorVerdicts([before, ...idles]), ...stateVerdicts([before, ...idles])]
			.filter(({ what }) => ["sockets of worker 0", "rows", "files on disk"].includes(what))
			.map((verdict) => verdict.good);
	expect(good(idle(100, 4, 31), idle(130, 3, 30), idle(160, 4, 31))).toEqual([true, true, true]);
	expect(good(idle(90, 3, 30), idle(100, 4, 31), idle(130, 4, 31), idle(160, 5, 32))).toEqual([false, false, false]);
});

it("idle is under a hundredth of a core, workerd's share counted with the edge's", () => {
	const all = (cpu: Record<string, number>) =>
		Object.entries(cpu).map(([name, cpuMs], i) =>
			process({ name, pid: i, cpuMs, kind: name.split(" ")[0] as ProcessSample["kind"] }),
		);
	const after = (cpu: Record<string, number>) => {
		const from = Object.fromEntries(Object.keys(cpu).map((name) => [name, 5000]));
		const to = Object.fromEntries(Object.entries(cpu).map(([name, ms]) => [name, 5000 + ms]));
		return idleVerdicts([reading("idle", 0, { processes: all(from) }), reading("idle", 100, { processes: all(to) })]);
	};
	const good = goodOf(after({ edge: 600, workerd: 600, "worker 0": 990, "worker 1": 1010, start: 0 }));
	expect(good).toEqual({
		"idle edge": false,
		"idle worker 0": true,
		"idle worker 1": false,
		"idle start": true,
	});
});

it("what goes wrong is the seed's, and after the first part a worker and the edge live on", () => {
	const faults = plannedFaults(HOUR, 1);
	expect(faults).toEqual(plannedFaults(HOUR, 1));
	expect(faults).not.toEqual(plannedFaults(HOUR, 2));
	expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(["restart", "kill", "halt", "cut"]));
	const late = faults.filter(({ at }) => at > HOUR / 6);
	expect(late.filter(({ kind, name }) => kind === "restart" || (kind === "kill" && name === "worker 0"))).toEqual([]);
	expect(late.filter(({ kind }) => kind === "kill").length).toBeGreaterThan(5);
	expect(faults.every(({ at }) => at >= 0 && at < HOUR)).toBe(true);
});

it("a reader that a cut leaves without a way back is excused, another one is lost", () => {
	const sample = (transport: "client" | "raw", firstEventAt: number | null) => {
		let now = 100;
		const asked = {
			index: 1,
			transport,
			prompt: "a cat",
			seed: 1,
			format: "webp" as const,
			reader: { kind: "steady" as const },
		};
		const trace = new Trace(asked, 100, false, () => now);
		trace.sent = now;
		trace.opened(null);
		trace.answered(200, { "content-type": "text/event-stream" });
		if (firstEventAt !== null) {
			now = firstEventAt;
			trace.frame({ id: { job: "a", n: 0 }, type: "plan", data: "{}" });
		}
		now = 1000;
		trace.closed("broken", "ECONNRESET");
		trace.problem = "it broke";
		trace.ended = now;
		return { trace, phase: "measured" as const, judgement: judge(trace, LIMITS) };
	};
	const cut: Disturbance[] = [{ kind: "cut", from: 500, to: 500 }];
	const lost = (of: ReturnType<typeof sample>, disturbances: Disturbance[]) =>
		picturesOf([of], disturbances).lost.length;
	expect(lost(sample("raw", 200), [])).toBe(1);
	expect(lost(sample("raw", 200), cut)).toBe(0);
	expect(lost(sample("client", null), cut)).toBe(0);
	expect(lost(sample("client", 200), cut)).toBe(1);
	expect(lost(sample("client", 200), [{ kind: "restart", from: 500, to: 900 }])).toBe(0);
	expect(lost(sample("client", 200), [{ kind: "restart", from: 2000, to: 2900 }])).toBe(1);
});
