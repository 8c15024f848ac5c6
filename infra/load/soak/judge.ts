/** Whether anything grew, stayed behind, or worked for nothing: pure functions of a soak's samples. */
import { median } from "../../median.ts";
import type { Pictures } from "./pictures.ts";
import type { Kind, ProcessSample } from "./processes.ts";
import type { StateSample } from "./state.ts";

export interface Verdict {
	what: string;
	/** Null: it cannot be told, and why is in `said`. */
	good: boolean | null;
	said: string;
}

/** A reading of a soak; seconds since the load began, negative before it. */
export interface Reading {
	at: number;
	phase: "before" | "load" | "after" | "idle";
	processes: ProcessSample[];
	state: StateSample;
}

export interface Slope {
	/** Units a second. */
	value: number;
	/** 95 % interval. */
	lower: number;
	upper: number;
}

/**
 * Theil and Sen's: the median of the slopes between all pairs of points, which a burst or a step of a few does not
 * move; with Sen's interval by Kendall's ranks. Null for fewer than three points.
 */
export function theilSen(points: readonly { at: number; value: number }[]): Slope | null {
	const n = points.length;
	if (n < 3) return null;
	const slopes: number[] = [];
	for (let i = 0; i < n; i++)
		for (let j = i + 1; j < n; j++) slopes.push((points[j].value - points[i].value) / (points[j].at - points[i].at));
	slopes.sort((a, b) => a - b);
	const spread = 1.96 * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
	const at = (rank: number) => slopes[Math.min(slopes.length - 1, Math.max(0, Math.round(rank)))];
	return {
		value: median(slopes),
		lower: at((slopes.length - spread) / 2 - 1),
		upper: at((slopes.length + spread) / 2),
	};
}

/** A process from its start to its end, under load. */
export interface Life {
	kind: Kind;
	name: string;
	pid: number;
	points: { at: number; value: number }[];
}

/** Resident memory of every process that there was while requests were sent, in the order in which they came. */
export function livesOf(readings: readonly Reading[]): Life[] {
	const lives = new Map<string, Life>();
	for (const { at, phase, processes } of readings) {
		if (phase !== "load") continue;
		for (const { kind, name, pid, born, residentBytes } of processes) {
			const life = lives.get(`${pid} ${born}`) ?? { kind, name, pid, points: [] };
			life.points.push({ at, value: residentBytes });
			lives.set(`${pid} ${born}`, life);
		}
	}
	return [...lives.values()];
}

/** Shorter ones are warming up, and a day cannot be told from them. */
const LEAST_SECONDS = 20 * 60;
const MINUTE = 60;
const DAY = 86_400;
/** Growth in a day that would be a leak: a quarter of what it takes. */
const LEAK_A_DAY = 0.25;
/** An interval that reaches further says nothing. */
const UNKNOWN_A_DAY = 1;
/** Within so long everything that is broken on purpose has been broken at least once (faults.ts). */
const ALL_FAULTS_SECONDS = 15 * 60;

/** Of each life that is long enough; the others together. */
export function memoryVerdicts(lives: readonly Life[]): Verdict[] {
	const lasted = ({ points }: Life) => points[points.length - 1].at - points[0].at;
	const short = lives.filter((life) => lasted(life) < LEAST_SECONDS);
	const told = lives.filter((life) => !short.includes(life)).map(memoryVerdict);
	if (short.length === 0) return told;
	const most = Math.max(...short.flatMap(({ points }) => points.map(({ value }) => value)));
	const longest = minutes(Math.max(...short.map(lasted)));
	const said = `${short.length} of ${longest} at most, which is less than 20 min; ${mib(most)} at most`;
	return [...told, { what: "memory of shorter lives", good: null, said }];
}

/**
 * Of the last two thirds of a life (the first is warming up), each minute's least (what garbage there is on top is no
 * leak), the slope extrapolated to a day, in shares of the median: a process is replaced by a deploy after days, not
 * hours, and what must not happen until then is that it outgrows its machine. It is flat where none of the interval is
 * above one, and not all of it above a quarter. Otherwise it has levelled off where the whole interval of the last
 * third is below a quarter, and that is long enough for all that goes wrong to have gone wrong in it: caches fill up,
 * and a leak does not stop. What is neither grows, or has to be looked at for longer.
 */
function memoryVerdict({ name, pid, points }: Life): Verdict {
	const what = `memory of ${name} (${pid})`;
	const [from, to] = [points[0].at, points[points.length - 1].at];
	const middle = median(points.map(({ value }) => value));
	const slopeFrom = (share: number) =>
		theilSen(leastOfMinutes(points.filter(({ at }) => at >= from + share * (to - from))));
	const [slope, last] = [slopeFrom(1 / 3), slopeFrom(2 / 3)];
	if (!slope || !last) return { what, good: null, said: "too few samples" };
	const aDay = (perSecond: number) => (perSecond * DAY) / middle;
	const told = ({ value, lower, upper }: Slope) =>
		`${signed(value * 3600)} an hour, in a day ${percent(aDay(value))} of it ` +
		`[${percent(aDay(lower))}, ${percent(aDay(upper))}]`;
	const about = `${mib(middle)} at the median, ${mib(Math.max(...points.map(({ value }) => value)))} at most`;
	const said = `${about}; ${told(slope)}`;
	const grows = aDay(slope.lower) > LEAK_A_DAY;
	if (!grows && aDay(slope.upper) <= UNKNOWN_A_DAY) return { what, good: true, said };
	if ((to - from) / 3 >= ALL_FAULTS_SECONDS && aDay(last.upper) < LEAK_A_DAY)
		return { what, good: true, said: `has levelled off: ${said}; in the last third ${told(last)}` };
	const why = grows ? "GROWS" : "too uneven to be told from a leak, run for longer";
	return { what, good: false, said: `${why}: ${said}; in the last third ${told(last)}` };
}

function leastOfMinutes(points: Life["points"]): Life["points"] {
	const groups = Map.groupBy(points, ({ at }) => Math.floor(at / MINUTE));
	return [...groups.values()].map((group) => group.reduce((least, each) => (each.value < least.value ? each : least)));
}

/**
 * What stays is there whenever one looks; a worker that renews its token has a connection for some seconds, and wakes
 * objects.
 */
const END_SECONDS = 60;

/** Of the last minute, whatever came and went in it left out. */
function atTheEnd(readings: readonly Reading[]): Reading[] {
	const end = readings.at(-1)?.at ?? 0;
	return readings.filter(({ at, phase }) => phase !== "load" && at >= end - END_SECONDS);
}

/** Sockets and other descriptors at the end, against the most that the same process's name had before the load. */
export function descriptorVerdicts(readings: readonly Reading[]): Verdict[] {
	const before = readings.filter(({ phase }) => phase === "before").flatMap(({ processes }) => processes);
	const during = readings.filter(({ phase }) => phase === "load").flatMap(({ processes }) => processes);
	const names = [...new Set(before.map(({ name }) => name))];
	const last = atTheEnd(readings);
	return names.flatMap((name) =>
		(["sockets", "files"] as const).map((each): Verdict => {
			const most = (of: readonly ProcessSample[]) =>
				Math.max(...of.filter((sample) => sample.name === name).map((sample) => sample[each]));
			const seen = last.map(({ processes }) => processes.find((sample) => sample.name === name)?.[each]);
			const end = seen.at(-1) === undefined ? undefined : Math.min(...seen.flatMap((count) => count ?? []));
			return {
				what: `${each} of ${name}`,
				good: end !== undefined && end <= most(before),
				said: `${most(before)} before, up to ${most(during)} under load, ${end ?? "none"} at the end`,
			};
		}),
	);
}

/** What SQLite writes ahead of a database before it takes it in: a thousand pages with their headers, and an index. */
const WAL_BYTES = 1000 * (4096 + 24) + 32_768;

/** Rows, files and bytes at the end, against the most before the load. */
export function stateVerdicts(readings: readonly Reading[]): Verdict[] {
	const states = (of: Reading["phase"]) => readings.filter(({ phase }) => phase === of).map(({ state }) => state);
	const [before, during] = [states("before"), states("load")];
	const last = atTheEnd(readings).map(({ state }) => state);
	if (last.length === 0 || before.length === 0) return [];
	const most = (of: readonly StateSample[], value: (state: StateSample) => number) => Math.max(...of.map(value));
	const least = (value: (state: StateSample) => number) => Math.min(...last.map(value));
	const stays = (value: (state: StateSample) => number) => least(value) > most(before, value);
	const tables = [...new Set([...before, ...during, ...last].flatMap(({ rows }) => Object.keys(rows)))].sort();
	const rowsIn =
		(table: string) =>
		({ rows }: StateSample) =>
			rows[table] ?? 0;
	const grown = tables.filter((table) => stays(rowsIn(table)));
	const rowsOf = ({ rows }: StateSample) => Object.values(rows).reduce((sum, count) => sum + count, 0);
	const compared = (value: (state: StateSample) => number, shown: (value: number) => string) => {
		const [first, highest, last] = [most(before, value), most(during, value), least(value)].map(shown);
		return `${first} before, up to ${highest} under load, ${last} at the end`;
	};
	const whole = (value: number) => String(value);
	// A database's own size tells when it last took in its log, not what it holds.
	const others = ({ bytes, walBytes, databaseBytes }: StateSample) => bytes - walBytes - databaseBytes;
	return [
		{
			what: "rows",
			good: grown.length === 0,
			said:
				compared(rowsOf, whole) +
				grown.map((table) => `; ${table}: ${most(before, rowsIn(table))}, ${least(rowsIn(table))}`).join(""),
		},
		{
			what: "files on disk",
			good: !stays(({ files }) => files),
			said:
				`${compared(({ files }) => files, whole)}; ` +
				`${least(({ emptyDatabases }) => emptyDatabases)} databases without a table`,
		},
		{
			what: "bytes in databases",
			good: !stays(({ usedBytes }) => usedBytes),
			said:
				`${compared(({ usedBytes }) => usedBytes, mib)}; ` +
				`beside them ${mib(least(({ freeBytes }) => freeBytes))} of free pages`,
		},
		{
			what: "bytes in other files",
			good: !stays(others),
			said: compared(others, mib),
		},
		{
			what: "logs of databases",
			good: last.every(({ walBytes, logs }) => walBytes <= logs * WAL_BYTES),
			said: `${compared(({ walBytes }) => walBytes, mib)}; ${least(({ logs }) => logs)} of them, which are used again`,
		},
	];
}

export function pictureVerdicts({
	requests,
	completed,
	left,
	refused,
	excused,
	lost,
	faults,
	slow,
}: Pictures): Verdict[] {
	const some = (of: readonly string[]) =>
		of
			.slice(0, 5)
			.map((each) => `; ${each}`)
			.join("");
	return [
		{
			what: "no picture lost",
			good: completed > 0 && lost.length === 0,
			said:
				`${requests} requests: ${completed} pictures, ${left} readers left, ${refused} refused, ` +
				`${excused} cut off for good by a fault of ours, ${lost.length} lost` +
				some(lost.map(({ index, outcome, why }) => `request ${index}: ${outcome}, ${why}`)),
		},
		{
			what: "nothing repeated or wrong",
			good: faults.length === 0,
			said: `${faults.length} faults (${slow.stalled} silences, ${slow.late} late scales not counted)${some(faults)}`,
		},
	];
}

/** Of a core. */
const IDLE_SHARE = 0.01;

/** The share of a core that each process took while nothing was asked; workerd is the edge's, and counts with it. */
export function idleVerdicts(readings: readonly Reading[]): Verdict[] {
	const idle = readings.filter(({ phase }) => phase === "idle");
	const [first, last] = [idle[0], idle.at(-1)];
	if (!first || !last || last.at <= first.at) return [];
	const share = ({ pid, born, cpuMs }: ProcessSample): number | null => {
		const then = first.processes.find((each) => each.pid === pid && each.born === born);
		return then ? (cpuMs - then.cpuMs) / 1000 / (last.at - first.at) : null;
	};
	const shares = last.processes.map((each) => ({ ...each, share: share(each) }));
	const of = (what: string, ...names: string[]): Verdict => {
		const own = shares.filter(({ name }) => names.includes(name));
		const all = own.some((each) => each.share === null)
			? null
			: own.reduce((sum, each) => sum + (each.share as number), 0);
		return {
			what: `idle ${what}`,
			good: all !== null && all < IDLE_SHARE,
			said:
				all === null
					? "it ended meanwhile"
					: `${fine(all)} of a core over ${minutes(last.at - first.at)}` +
						(own.length > 1 ? ` (${own.map((each) => `${each.name} ${fine(each.share as number)}`).join(", ")})` : ""),
		};
	};
	const workers = last.processes.filter(({ kind }) => kind === "worker").map(({ name }) => name);
	return [of("edge", "edge", "workerd"), ...workers.sort().map((name) => of(name, name)), of("start", "start")];
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
const signed = (bytes: number): string => (bytes < 0 ? "" : "+") + mib(bytes);
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
const fine = (share: number): string => `${(100 * share).toFixed(2)} %`;
const minutes = (seconds: number): string => `${(seconds / 60).toFixed(1)} min`;
