/** What the product's processes take now, as Linux's /proc tells it. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** `start` runs the others; `edge` is Node before `workerd`. */
export type Kind = "start" | "edge" | "workerd" | "worker";

export interface ProcessSample {
	kind: Kind;
	/** The kind, and which one of several. */
	name: string;
	pid: number;
	/** Ticks since the machine's start: with the pid, which life it is. */
	born: number;
	residentBytes: number;
	sockets: number;
	/** Every other open descriptor. */
	files: number;
	/** Processor time that it has used, in milliseconds. */
	cpuMs: number;
}

/** Of the kernel's clock, on Linux everywhere. */
const TICK_MS = 10;

/** `root` and what it has started, itself or by others; what is none of the kinds is left out. */
export function processesBelow(root: number): ProcessSample[] {
	const parents = new Map<number, number[]>();
	for (const entry of readdirSync("/proc")) {
		const pid = Number(entry);
		if (!Number.isInteger(pid)) continue;
		const stat = statOf(pid);
		if (stat) parents.set(stat.parent, [...(parents.get(stat.parent) ?? []), pid]);
	}
	const below = (pid: number): number[] => [pid, ...(parents.get(pid) ?? []).flatMap(below)];
	return below(root).flatMap((pid) => sampleOf(pid) ?? []);
}

function sampleOf(pid: number): ProcessSample | undefined {
	const stat = statOf(pid);
	const known = stat && kindOf(pid);
	if (!known) return undefined;
	const open = gone(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
	const targets = open.flatMap((fd) => gone(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []);
	const sockets = targets.filter((target) => target.startsWith("socket:")).length;
	return { ...known, pid, ...stat.use, sockets, files: targets.length - sockets };
}

function statOf(pid: number) {
	const text = gone(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
	const status = gone(() => readFileSync(`/proc/${pid}/status`, "utf8"));
	if (!text || !status) return undefined;
	// The name before it may have spaces and brackets.
	const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
	return {
		parent: Number(fields[1]),
		use: {
			born: Number(fields[19]),
			residentBytes: 1024 * Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0),
			cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
		},
	};
}

function kindOf(pid: number): { kind: Kind; name: string } | undefined {
	const [command = "", script = ""] = gone(() => readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")) ?? [];
	if (/\bworkerd$/.test(command)) return { kind: "workerd", name: "workerd" };
	if (script.endsWith("infra/start/start.ts")) return { kind: "start", name: "start" };
	if (script.endsWith("infra/start/edge.ts")) return { kind: "edge", name: "edge" };
	if (!script.endsWith("worker/gpu/main.ts")) return undefined;
	const id = /(?:^|\0)WORKER_ID=local-(\d+)/.exec(gone(() => readFileSync(`/proc/${pid}/environ`, "utf8")) ?? "");
	return { kind: "worker", name: `worker ${id?.[1] ?? "?"}` };
}

/** Undefined where the process has ended meanwhile. */
function gone<T>(read: () => T): T | undefined {
	try {
		return read();
	} catch {
		return undefined;
	}
}
