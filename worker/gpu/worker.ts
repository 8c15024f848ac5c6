import { randomUUID } from "node:crypto";
import { CAPABILITIES } from "../protocol/capabilities.ts";
import { type Hello, type Holding, type Lease, VERSIONS, type WorkerMessage } from "../protocol/messages.ts";
import { Connection } from "./connection.ts";
import { ENDED, type ExitCode } from "./exit.ts";
import { Hands } from "./hands.ts";
import { abortedOutcome, DEVICE_LOST, failedOutcome, HAND_BACK, type Outcome, runLease } from "./lease.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { type Device, openDevice } from "./models.ts";
import { credentialOf } from "./registration.ts";
import type { Settings } from "./settings.ts";

type Release = Extract<WorkerMessage, { type: "release" }>;

/** A picture in hand is finished within this time of being told to stop, or handed back. */
const DRAIN_MS = 10_000;

/**
 * One GPU, its models and its connection to the pool. A lost device hands its work back and is opened again; a lost
 * connection is dialled again while the work goes on.
 */
export class GpuWorker {
	/** The device at work; another one after a loss. */
	device: Device;
	/** Settles when the worker has ended, with its exit code. */
	readonly ended: Promise<ExitCode>;
	#settings: Settings;
	#log: Log;
	#metrics: Metrics | undefined;
	#admitted = false;
	#end!: (code: ExitCode) => void;
	#instance = randomUUID();
	#hands = new Hands();
	#draining = false;
	/** Its device is gone, and no other one there yet. */
	#lost = false;
	#connection: Connection;

	/** Opens the adapter and the models, then dials. Throws what opening throws. */
	static async start(settings: Settings, log: Log, metrics?: Metrics): Promise<GpuWorker> {
		return new GpuWorker(settings, await openDevice(settings, log), log, metrics);
	}

	private constructor(settings: Settings, device: Device, log: Log, metrics: Metrics | undefined) {
		this.#settings = settings;
		this.#log = log;
		this.#metrics = metrics;
		if (metrics)
			metrics.look = {
				memory: () => this.device.gpu.bytes,
				busy: () => this.#hands.holding().length,
				ready: () => this.#admitted && !this.#draining,
			};
		this.device = device;
		this.ended = new Promise((resolve) => (this.#end = resolve));
		this.#connection = new Connection(
			settings.EDGE_URL,
			credentialOf(settings),
			{
				hello: () => this.#hello(),
				holding: () => this.#hands.holding(),
				admitted: () => {
					this.#admitted = true;
					log(`admitted by ${settings.EDGE_URL}, ready for pictures`);
					// A connection that was away when the worker began to stop, or lost its device.
					if (this.#draining || this.#lost) this.#connection.send({ type: "draining" });
				},
				parted: () => {
					this.#admitted = false;
				},
				refused: (reason) => {
					log(`refused by the edge: ${reason}`, { level: "error" });
					this.#hands.abortAll("refused");
					this.#finish(ENDED.misconfigured);
				},
				leased: (lease) => this.#take(lease),
				unreadable: (holding) => {
					const reason = "this worker does not know all that the lease asks for";
					log(`job ${holding.job.slice(0, 8)}: ${reason}`, { ...holding, level: "warn" });
					this.#release(holding, { outcome: "handed-back", cause: "failed", reason });
				},
				cancelled: (holding) => {
					// Let go of already, or never come: whoever counts it as in hand is told.
					if (!this.#hands.cancel(holding)) this.#release(holding, { outcome: "done", cause: "failed", reason: "" });
				},
				log,
			},
			{
				models: device.models.offers.map(({ info }) => info.id).join(","),
				...(settings.REGION && { region: settings.REGION }),
			},
		);
		this.#watch(device);
		this.#connection.dial();
	}

	/** No new leases; the picture in hand is finished or, after a while, handed back. Then `ended` settles. */
	async drain(): Promise<void> {
		if (this.#draining) return;
		this.#draining = true;
		this.#connection.send({ type: "draining" });
		const late = setTimeout(() => this.#hands.abortAll(HAND_BACK), DRAIN_MS);
		await this.#hands.idle();
		clearTimeout(late);
		this.#finish(ENDED.drained);
	}

	#hello(): Hello {
		const { name, driver, software, runtime } = this.device.gpu.facts;
		return {
			type: "hello",
			versions: VERSIONS,
			worker: this.#settings.WORKER_ID,
			instance: this.#instance,
			adapter: { name: name.slice(0, 200), driver: driver.slice(0, 200), software, runtime },
			models: this.device.models.offers,
			slots: this.device.slots,
			capabilities: [...CAPABILITIES],
			holding: this.#hands.holding(),
		};
	}

	#take(lease: Lease): void {
		const begun = performance.now();
		const { model, plan } = lease.request;
		this.#hands.take(
			lease,
			(signal) => this.#run(lease, signal),
			({ job, attempt, traceparent, requestId }, { outcome, cause, reason, made }) => {
				const seconds = ((performance.now() - begun) / 1000).toFixed(1);
				const ended = reason ? `${outcome}, ${reason}` : `picture of ${model} by ${plan.policy} in ${seconds} s`;
				this.#log(`job ${job.slice(0, 8)}: ${ended}`, {
					job,
					attempt,
					request: requestId,
					traceparent,
					policy: plan.policy,
					outcome,
					milliseconds: Math.round(performance.now() - begun),
				});
				this.#metrics?.ended(plan.policy, outcome, made);
				const told = cause === "preempted" ? cause : "failed";
				this.#release({ job, attempt }, { outcome, cause: told, reason, made });
				if (cause === "hung") this.#giveUp();
			},
		);
	}

	async #run(lease: Lease, signal: AbortSignal): Promise<Outcome> {
		const { models } = this.device;
		const id = lease.request.model;
		const away = this.#draining ? "the worker is stopping" : this.#lost && "the GPU device was lost";
		if (away) return { outcome: "handed-back", cause: "preempted", reason: away };
		if (!models.has(id)) return { outcome: "handed-back", cause: "failed", reason: `${id} is not loaded` };
		const bench = {
			adapter: this.device.gpu.facts.name,
			edge: this.#settings.EDGE_URL,
			memory: () => this.device.gpu.bytes,
			watchdogSeconds: this.#settings.WATCHDOG_SECONDS,
		};
		try {
			return await models.use(id, (model) => runLease(lease, { ...bench, model }, signal), signal);
		} catch (error) {
			// It was not there, and could not be loaded, or nobody waits any more.
			return signal.aborted ? abortedOutcome(signal) : failedOutcome(error);
		}
	}

	#release({ job, attempt }: Holding, ending: Omit<Release, "type" | keyof Holding>): void {
		this.#connection.send({ type: "release", job, attempt, ...ending });
	}

	/** A lost device takes its work with it: hand it back, open again, dial again as the worker it was. */
	#watch(device: Device): void {
		device.gpu.lost.then(async (reason) => {
			if (this.#draining) return;
			this.#log(`the GPU device was lost (${reason}); opening it again`, { level: "warn" });
			// Nothing new until it dials again.
			this.#lost = true;
			this.#connection.send({ type: "draining" });
			this.#hands.abortAll(DEVICE_LOST);
			await this.#hands.idle();
			this.#connection.close();
			try {
				this.device = await openDevice(this.#settings, this.#log);
			} catch (error) {
				this.#log(`it cannot be opened again: ${(error as Error).message}`, { level: "error" });
				return this.#finish(ENDED.failed);
			}
			this.#lost = false;
			this.#watch(this.device);
			this.#connection.dial();
		});
	}

	/** Nothing more comes from a device that hangs: its pictures go on elsewhere, and a new process tries. */
	#giveUp(): void {
		this.#log("the GPU hangs; the worker ends, so that a new one can try", { level: "error" });
		for (const holding of this.#hands.holding())
			this.#release(holding, { outcome: "handed-back", cause: "failed", reason: "the GPU hangs" });
		this.#finish(ENDED.failed, false);
	}

	#finish(code: ExitCode, closing = true): void {
		this.#draining = true;
		this.#connection.close();
		// One that hangs would hang here too.
		if (closing) this.device.close();
		this.#end(code);
	}
}
