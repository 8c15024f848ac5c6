import { median } from "../../median.ts";
import { type Contender, type Peer, relativeError } from "./contender.ts";

export interface Entry {
	runtime: string;
	cpu: boolean;
	/** Which of its ways counted. */
	how: string;
	/** Milliseconds a run, by round. */
	samples: number[];
	milliseconds: number;
	gflops: number;
	/** Against Firstlight's result, relative to its largest value. */
	error: number;
}
export interface Row {
	name: string;
	gflop: number;
	/** Firstlight first. Empty where even that would take too long. */
	entries: Entry[];
	/** Why a runtime is missing, or one of its ways. */
	notes: string[];
}
export interface Limits {
	/** Seconds that one run of one contender may take, by the rate it showed. */
	run: number;
	/** Seconds for the rounds of one row. */
	row: number;
	/** Clock time after which nothing new begins. */
	deadline: number;
}

const MOST_ROUNDS = 5;
/** Fast runs are repeated within a round. */
const LEAST_MS = 30;
/** f32 sums in another order differ by far less, another computation by far more. */
const TOLERANCE = 1e-4;

interface Ready {
	entry: Entry;
	contender: Contender;
}

/**
 * Compares workloads one after another; remembers each runtime's rate by kind of work, to tell beforehand what would
 * take too long.
 */
export class Comparison {
	#limits: Limits;
	#progress: (text: string) => void;
	#rates = new Map<string, number>();
	#started = new Set<string>();
	/** Runtimes that did not start, with the reason: they are not asked again. */
	#broken = new Map<string, string>();

	/** `progress` hears what is being done: on a CPU adapter that can take minutes. */
	constructor(limits: Limits, progress: (text: string) => void = () => {}) {
		this.#limits = limits;
		this.#progress = progress;
	}

	/**
	 * Checks every peer's result against `ours`, then times all of them in turn. `kind`: workloads of one kind run at
	 * similar rates.
	 */
	async row<Work>(
		name: string,
		kind: string,
		flops: number,
		work: Work,
		ours: () => Contender,
		peers: readonly Peer<Work>[],
	): Promise<Row> {
		const row: Row = { name, gflop: flops / 1e9, entries: [], notes: [] };
		const ready: Ready[] = [];
		try {
			const slow = this.#tooLong("Firstlight", kind, flops);
			if (slow) {
				row.notes.push(slow);
				return row;
			}
			this.#progress(`${name}: Firstlight`);
			const mine: Ready = {
				contender: ours(),
				entry: { runtime: "Firstlight", cpu: false, how: "", samples: [], milliseconds: 0, gflops: 0, error: 0 },
			};
			ready.push(mine);
			const expected = await mine.contender.result();
			mine.entry.samples.push(await time(mine.contender));
			this.#learn("Firstlight", kind, flops, mine.entry);
			for (const peer of peers) {
				this.#progress(`${name}: ${peer.name}`);
				const note =
					this.#tooLong(peer.name, kind, flops) ??
					(await this.#enter(peer, kind, flops, work, expected, ready, row.notes));
				if (note) row.notes.push(note);
			}
			ready.sort((a, b) => Number(a.entry.cpu) - Number(b.entry.cpu));
			await this.#rounds(ready);
			// A slow first run, which the rounds show for what it was, must not rule the next workload out.
			for (const { entry } of ready) this.#learn(entry.runtime, kind, flops, entry);
			row.entries = ready.map(({ entry }) => {
				const milliseconds = median(entry.samples);
				return { ...entry, milliseconds, gflops: flops / milliseconds / 1e6 };
			});
			return row;
		} finally {
			for (const { contender } of ready) await contender.close();
		}
	}

	/** Tries a peer's ways and keeps the fastest that computes the same. Returns why none was tried. */
	async #enter<Work>(
		peer: Peer<Work>,
		kind: string,
		flops: number,
		work: Work,
		expected: Float32Array,
		ready: Ready[],
		notes: string[],
	): Promise<string | undefined> {
		const broken = this.#broken.get(peer.name);
		if (broken) return broken;
		let best: Ready | undefined;
		try {
			for await (const { how, contender } of peer.open(work)) {
				this.#started.add(peer.name);
				const error = relativeError(await contender.result(), expected);
				if (!(error <= TOLERANCE)) {
					notes.push(
						`${peer.name}, ${how}: not compared, its result is off by ${error.toExponential(1)} of the largest value`,
					);
					await contender.close();
					continue;
				}
				const entry: Entry = {
					runtime: peer.name,
					cpu: peer.cpu ?? false,
					how,
					samples: [await time(contender)],
					milliseconds: 0,
					gflops: 0,
					error,
				};
				const [faster, slower] =
					best && best.entry.samples[0] <= entry.samples[0]
						? [best, { entry, contender }]
						: [{ entry, contender }, best];
				await slower?.contender.close();
				best = faster;
			}
		} catch (error) {
			const note = `${peer.name}: ${reason(error)}`;
			if (!this.#started.has(peer.name)) this.#broken.set(peer.name, note);
			notes.push(note);
		}
		if (!best) return;
		ready.push(best);
		this.#learn(peer.name, kind, flops, best.entry);
	}

	async #rounds(ready: readonly Ready[]): Promise<void> {
		const round = ready.reduce((sum, { entry }) => sum + Math.max(LEAST_MS, entry.samples[0]), 0) / 1000;
		const left = Math.min(this.#limits.row, (this.#limits.deadline - performance.now()) / 1000);
		const rounds = Math.max(0, Math.min(MOST_ROUNDS, Math.floor(left / round)));
		this.#progress(`${rounds} rounds of ${round.toFixed(1)} s`);
		for (let i = 0; i < rounds; i++)
			for (const { entry, contender } of ready) entry.samples.push(await time(contender));
	}

	#tooLong(runtime: string, kind: string, flops: number): string | undefined {
		if (performance.now() > this.#limits.deadline)
			return `${runtime}: left out, the time limit is reached (--max-seconds)`;
		const rate = this.#rates.get(`${runtime} ${kind}`);
		const seconds = rate ? flops / rate : 0;
		const gflops = Number(rate) / 1e9;
		const shown = `${seconds.toPrecision(2)} s at the ${gflops.toPrecision(2)} GFLOPS it showed`;
		if (seconds > this.#limits.run) return `${runtime}: left out, a run would take about ${shown}`;
	}

	/** The best rate of a kind: small workloads, which show less, must not rule out larger ones. */
	#learn(runtime: string, kind: string, flops: number, { samples }: Entry): void {
		const key = `${runtime} ${kind}`;
		this.#rates.set(key, Math.max(this.#rates.get(key) ?? 0, (flops / Math.min(...samples)) * 1000));
	}
}

/** Milliseconds of one run, the mean of as many as fill the least time. */
async function time(contender: Contender): Promise<number> {
	let runs = 0;
	let spent = 0;
	const begun = performance.now();
	do {
		const start = performance.now();
		const own = await contender.run();
		spent += own ?? performance.now() - start;
		runs++;
	} while (performance.now() - begun < LEAST_MS);
	return spent / runs;
}

/** The end of the first line: native messages begin with the place in their source. */
const reason = (error: unknown) =>
	String((error as Error).message ?? error)
		.split("\n")[0]
		.slice(-120);
