import { type Hello, type Lease, PROTOCOL_VERSION } from "../protocol/messages.ts";
import { Connection } from "./connection.ts";
import { HAND_BACK, type Outcome, runLease } from "./lease.ts";
import { type Device, openDevice } from "./models.ts";
import type { Settings } from "./settings.ts";

/** A picture in hand is finished within this time of being told to stop, or handed back. */
const DRAIN_MS = 10_000;

interface InHand {
	lease: Lease;
	abort: AbortController;
	done: Promise<void>;
}

/**
 * One GPU, its models and its connection to the pool. A lost device or connection hands work back and is opened again.
 */
export class GpuWorker {
	/** The device at work; another one after a loss. */
	device: Device;
	/** Settles when the worker has ended, with its exit code: 0 drained, 1 refused by the edge or without a device. */
	readonly ended: Promise<number>;
	#settings: Settings;
	#log: (line: string) => void;
	#end!: (code: number) => void;
	#inHand = new Map<string, InHand>();
	#draining = false;
	#connection: Connection;

	/** Opens the adapter and the models, then dials. Throws what opening throws. */
	static async start(settings: Settings, log: (line: string) => void): Promise<GpuWorker> {
		return new GpuWorker(settings, await openDevice(settings, log), log);
	}

	private constructor(settings: Settings, device: Device, log: (line: string) => void) {
		this.#settings = settings;
		this.#log = log;
		this.device = device;
		this.ended = new Promise((resolve) => (this.#end = resolve));
		this.#connection = new Connection(settings.EDGE_URL, settings.WORKER_SECRET, {
			hello: () => this.#hello(),
			leases: () => [...this.#inHand.keys()],
			admitted: () => log(`admitted by ${settings.EDGE_URL}, ready for pictures`),
			refused: (reason) => {
				log(`refused by the edge: ${reason}`);
				this.#finish(1);
			},
			leased: (lease) => this.#take(lease),
			cancelled: (job, attempt) => {
				const held = this.#inHand.get(job);
				if (held?.lease.attempt === attempt) held.abort.abort("cancelled");
			},
			lost: () => this.#abortAll("connection lost"),
			log,
		});
		this.#watch(device);
		this.#connection.dial();
	}

	/** No new leases; the picture in hand is finished or, after a while, handed back. Then `ended` settles. */
	async drain(): Promise<void> {
		if (this.#draining) return;
		this.#draining = true;
		this.#connection.send({ type: "draining" });
		const late = setTimeout(() => this.#abortAll(HAND_BACK), DRAIN_MS);
		await this.#idle();
		clearTimeout(late);
		this.#finish(0);
	}

	#hello(): Hello {
		const { name, driver, software, runtime } = this.device.gpu.facts;
		return {
			type: "hello",
			version: PROTOCOL_VERSION,
			worker: this.#settings.WORKER_ID,
			adapter: { name: name.slice(0, 200), driver: driver.slice(0, 200), software, runtime },
			models: [...this.device.models.values()].map(({ info, numerics }) => ({ info, numerics })),
			slots: this.device.slots,
		};
	}

	#take(lease: Lease): void {
		const abort = new AbortController();
		const begun = performance.now();
		const { model, plan } = lease.request;
		const done = this.#run(lease, abort.signal).then(({ outcome, reason }) => {
			this.#inHand.delete(lease.job);
			const seconds = ((performance.now() - begun) / 1000).toFixed(1);
			const ended = reason ? `${outcome}, ${reason}` : `picture of ${model} by ${plan.policy} in ${seconds} s`;
			this.#log(`job ${lease.job.slice(0, 8)}: ${ended}`);
			this.#connection.send({ type: "release", job: lease.job, attempt: lease.attempt, outcome, reason });
		});
		this.#inHand.set(lease.job, { lease, abort, done });
	}

	async #run(lease: Lease, signal: AbortSignal): Promise<Outcome> {
		const model = this.device.models.get(lease.request.model);
		if (this.#draining) return { outcome: "handed-back", reason: "the worker is stopping" };
		if (!model) return { outcome: "handed-back", reason: `model ${lease.request.model} is not loaded` };
		return runLease(lease, model, this.device.gpu.facts.name, this.#settings.EDGE_URL, signal);
	}

	/** A lost device takes its work with it: hand it back, open again, dial again as the worker it was. */
	#watch(device: Device): void {
		device.gpu.lost.then(async (reason) => {
			if (this.#draining) return;
			this.#log(`the GPU device was lost (${reason}); opening it again`);
			this.#abortAll(HAND_BACK);
			await this.#idle();
			this.#connection.close();
			try {
				this.device = await openDevice(this.#settings, this.#log);
			} catch (error) {
				this.#log(`it cannot be opened again: ${(error as Error).message}`);
				return this.#finish(1);
			}
			this.#watch(this.device);
			this.#connection.dial();
		});
	}

	#abortAll(reason: string): void {
		for (const { abort } of this.#inHand.values()) abort.abort(reason);
	}

	async #idle(): Promise<void> {
		await Promise.all([...this.#inHand.values()].map(({ done }) => done));
	}

	#finish(code: number): void {
		this.#draining = true;
		this.#connection.close();
		this.device.close();
		this.#end(code);
	}
}
