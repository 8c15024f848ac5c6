/**
 * What the pool has seen, counted for `/metrics`: in memory, and so from nothing after a sleep, as Prometheus expects
 * of counters. Labels are words of ours; none has anything of a request in it.
 */

/** Every metric of the edge: what it is, its kind, and its labels. */
export const METRICS = {
	firstlight_pools_missing: ["gauge", "Pools that do not answer: nothing of theirs is in the other lines."],
	firstlight_queue: ["gauge", "Pictures that wait for a worker."],
	firstlight_worker_busy: ["gauge", "Pictures in a worker's hand.", "worker", "adapter", "software", "draining"],
	firstlight_worker_slots: ["gauge", "Pictures it takes at once.", "worker", "adapter", "software", "draining"],
	firstlight_worker_device_bytes: ["gauge", "Device memory in use, as the worker said last.", "worker"],
	firstlight_queue_wait_seconds: ["histogram", "From the queue to a worker."],
	firstlight_first_preview_seconds: ["histogram", "From the queue to the first scale."],
	firstlight_scale_seconds: ["histogram", "Of one scale on the worker.", "scale"],
	firstlight_pictures_total: ["counter", "Finished pictures.", "policy"],
	firstlight_leases_lost_total: ["counter", "Leases that came back unfinished.", "cause"],
	firstlight_resumes_total: ["counter", "Pictures that went on after a lease was lost."],
	firstlight_cancelled_total: ["counter", "Pictures that were stopped before their end.", "reason"],
} as const satisfies Record<string, readonly [kind: "gauge" | "counter" | "histogram", help: string, ...string[]]>;
export type MetricName = keyof typeof METRICS;

/** Upper bounds of histograms, in seconds. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Of one metric: more sets of labels than this are counted as `other`. */
const MOST_SERIES = 200;

export type Labels = Readonly<Record<string, string | number | boolean>>;
export interface Sample {
	name: MetricName;
	labels: Labels;
	value: number;
}

interface Histogram {
	labels: Labels;
	counts: number[];
	sum: number;
}

/** Of one pool. */
export interface Seen {
	samples: Sample[];
	histograms: ({ name: MetricName } & Histogram)[];
}

export class Tally {
	readonly #counters = new Map<string, Sample>();
	readonly #histograms = new Map<MetricName, Map<string, Histogram>>();

	count(name: MetricName, labels: Labels = {}): void {
		const sample = this.#of(this.#counters, name, labels, (labels): Sample => ({ name, labels, value: 0 }));
		sample.value += 1;
	}

	observe(name: MetricName, seconds: number, labels: Labels = {}): void {
		let all = this.#histograms.get(name);
		if (!all) this.#histograms.set(name, (all = new Map()));
		const made = this.#of(all, name, labels, (labels) => ({ labels, counts: BOUNDS.map(() => 0).concat(0), sum: 0 }));
		const at = BOUNDS.findIndex((bound) => seconds <= bound);
		made.counts[at === -1 ? BOUNDS.length : at] += 1;
		made.sum += seconds;
	}

	/** What was counted, with what is true now. */
	seen(now: readonly Sample[]): Seen {
		return {
			samples: [...now, ...this.#counters.values()],
			histograms: [...this.#histograms].flatMap(([name, all]) => [...all.values()].map((one) => ({ name, ...one }))),
		};
	}

	#of<T>(all: Map<string, T>, name: MetricName, labels: Labels, make: (labels: Labels) => T): T {
		const full = all.size >= MOST_SERIES;
		const other = Object.fromEntries(Object.keys(labels).map((label) => [label, "other"]));
		const key = (labels: Labels) => name + labelled(labels);
		const used = full && !all.has(key(labels)) ? other : labels;
		let found = all.get(key(used));
		if (!found) all.set(key(used), (found = make(used)));
		return found;
	}
}

/** All pools together, in Prometheus's text format: what has the same labels is added up. */
export function metricsText(pools: readonly Seen[]): string {
	const values = new Map<string, number>();
	const add = (line: string, value: number) => values.set(line, (values.get(line) ?? 0) + value);
	const lines: string[] = [];
	for (const [name, [kind, help]] of Object.entries(METRICS)) {
		values.clear();
		for (const { samples, histograms } of pools) {
			for (const sample of samples) if (sample.name === name) add(name + labelled(sample.labels), sample.value);
			for (const { name: of, labels, counts, sum } of histograms) {
				if (of !== name) continue;
				let below = 0;
				counts.forEach((count, i) => {
					below += count;
					add(`${name}_bucket${labelled({ ...labels, le: BOUNDS[i] ?? "+Inf" })}`, below);
				});
				add(`${name}_sum${labelled(labels)}`, sum);
				add(`${name}_count${labelled(labels)}`, below);
			}
		}
		lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
		for (const [line, value] of values) lines.push(`${line} ${value}`);
	}
	return `${lines.join("\n")}\n`;
}

function labelled(labels: Labels): string {
	const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
	return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

const escaped = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
