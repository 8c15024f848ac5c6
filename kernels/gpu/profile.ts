/**
 * Where the time of submissions goes: the host's own by what it does, the device's by dispatch. Set `gpu.profiler` to
 * measure; without one nothing is measured, and work is encoded in one pass as ever.
 */

/**
 * How the device is timed. `timestamps`: a compute pass a dispatch, with the adapter's own clock at both ends.
 * `submissions`, for adapters without one: a submission for each run of equal labels, and the wall clock when each is
 * done. `none`: not at all, and the work is encoded as without a profiler.
 */
export type DeviceClock = "timestamps" | "submissions" | "none";

/** The best that a device has. */
export const clockOf = (device: GPUDevice): DeviceClock =>
	device.features.has("timestamp-query") ? "timestamps" : "submissions";

/** One submission. Times are milliseconds. */
export interface SubmissionTimes {
	label: string;
	host: {
		/** Between `pass` and `submit`: describing the work. */
		record: number;
		/** Programs, bind groups and commands. */
		encode: number;
		/** Closing the command buffer and handing it over. */
		submit: number;
		/** Copying out what came back. */
		copy: number;
	};
	/** Until what is read had come back, the host waiting or at other work. 0 where nothing is read. */
	wait: number;
	/** In order, a dispatch each, or a run of dispatches of one label where those are timed together. */
	runs: Run[];
}

export interface Run {
	label: string;
	dispatches: number;
	/** Null where the device was not timed. */
	milliseconds: number | null;
}

interface Commands {
	encoder: GPUCommandEncoder;
	pass: GPUComputePassEncoder;
}

/** A query set holds no more. */
const MOST_QUERIES = 4096;

export class Profiler {
	readonly clock: DeviceClock;
	#device: GPUDevice;
	#taken: Submission[] = [];
	/** When the device finished the last submission that was timed by the wall clock. */
	#finished = 0;

	constructor(device: GPUDevice, clock = clockOf(device)) {
		this.#device = device;
		this.clock = clock;
	}

	/** By `Gpu`, when a recorded submission is about to be encoded. `begun`: when its recording began. */
	submission(label: string, begun: number): Submission {
		const submission = new Submission(this.#device, this.clock, label, begun, (at) => {
			const since = Math.max(this.#finished, at.submitted);
			this.#finished = at.done;
			return Math.max(0, at.done - since);
		});
		this.#taken.push(submission);
		return submission;
	}

	/** What was submitted since the last call, once all of it has run. */
	async take(): Promise<SubmissionTimes[]> {
		const taken = this.#taken.splice(0);
		return await Promise.all(taken.map((submission) => submission.times()));
	}
}

/** A submission that is being measured. */
export class Submission {
	#device: GPUDevice;
	#clock: DeviceClock;
	#times: SubmissionTimes;
	#mark = performance.now();
	#runs: Run[] = [];
	/** The milliseconds of each run, once they are known. */
	#measured: Promise<number>[] = [];
	#queries: GPUQuerySet[] = [];
	#resolved: GPUBuffer | undefined;
	#between: (at: { submitted: number; done: number }) => number;

	constructor(
		device: GPUDevice,
		clock: DeviceClock,
		label: string,
		begun: number,
		between: (at: { submitted: number; done: number }) => number,
	) {
		this.#device = device;
		this.#clock = clock;
		this.#between = between;
		const host = { record: this.#mark - begun, encode: 0, submit: 0, copy: 0 };
		this.#times = { label, host, wait: 0, runs: this.#runs };
	}

	/** Where the next dispatch is to be encoded. */
	next(commands: Commands, label: string): Commands {
		const last = this.#runs.at(-1);
		if (this.#clock === "submissions" && last?.label === label) {
			last.dispatches++;
			return commands;
		}
		const index = this.#runs.push({ label, dispatches: 1, milliseconds: null }) - 1;
		if (this.#clock === "none") return commands;
		commands.pass.end();
		if (this.#clock === "timestamps") {
			const pass = commands.encoder.beginComputePass({ label, timestampWrites: this.#queriesOf(index) });
			return { encoder: commands.encoder, pass };
		}
		if (last) this.#submitAlone(commands.encoder);
		const encoder = this.#device.createCommandEncoder({ label });
		return { encoder, pass: encoder.beginComputePass({ label }) };
	}

	/** All dispatches are encoded: has the clock's values copied out behind them. */
	encoded(encoder: GPUCommandEncoder): void {
		if (this.#queries.length > 0) {
			const size = this.#runs.length * 16;
			const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
			const queries = this.#device.createBuffer({ label: "profile queries", size, usage });
			this.#queries.forEach((set, i) => {
				const count = Math.min(MOST_QUERIES, this.#runs.length * 2 - i * MOST_QUERIES);
				encoder.resolveQuerySet(set, 0, count, queries, i * MOST_QUERIES * 8);
			});
			this.#resolved = this.#device.createBuffer({
				label: "profile times",
				size,
				usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
			});
			encoder.copyBufferToBuffer(queries, 0, this.#resolved, 0, size);
		}
		this.#times.host.encode = this.#lap();
	}

	/** All of it is handed over. */
	submitted(): void {
		this.#times.host.submit = this.#lap();
		if (this.#clock === "submissions" && this.#runs.length > 0) this.#measured.push(this.#wall());
		if (this.#resolved) this.#measured = this.#readQueries(this.#resolved);
	}

	/** What was read is there. */
	came(): void {
		this.#times.wait = this.#lap();
	}

	/** What was read is copied out. */
	copied(): void {
		this.#times.host.copy = this.#lap();
	}

	async times(): Promise<SubmissionTimes> {
		const measured = await Promise.all(this.#measured);
		for (const [i, milliseconds] of measured.entries()) this.#runs[i].milliseconds = milliseconds;
		return this.#times;
	}

	#lap(): number {
		const before = this.#mark;
		this.#mark = performance.now();
		return this.#mark - before;
	}

	#queriesOf(index: number): GPUComputePassTimestampWrites {
		const set = Math.floor((index * 2) / MOST_QUERIES);
		this.#queries[set] ??= this.#device.createQuerySet({ label: "profile", type: "timestamp", count: MOST_QUERIES });
		const beginningOfPassWriteIndex = (index * 2) % MOST_QUERIES;
		return {
			querySet: this.#queries[set],
			beginningOfPassWriteIndex,
			endOfPassWriteIndex: beginningOfPassWriteIndex + 1,
		};
	}

	#submitAlone(encoder: GPUCommandEncoder): void {
		this.#device.queue.submit([encoder.finish()]);
		this.#measured.push(this.#wall());
	}

	/** From when the device was free for it until it was done. */
	async #wall(): Promise<number> {
		const submitted = performance.now();
		await this.#device.queue.onSubmittedWorkDone();
		return this.#between({ submitted, done: performance.now() });
	}

	#readQueries(resolved: GPUBuffer): Promise<number>[] {
		const read = resolved.mapAsync(GPUMapMode.READ).then(() => {
			const nanoseconds = new BigUint64Array(resolved.getMappedRange().slice(0));
			resolved.destroy();
			for (const set of this.#queries) set.destroy();
			return nanoseconds;
		});
		// A clock may be set back between two passes; no dispatch takes less than nothing.
		return this.#runs.map((_, i) => read.then((times) => Math.max(0, Number(times[2 * i + 1] - times[2 * i]) / 1e6)));
	}
}
