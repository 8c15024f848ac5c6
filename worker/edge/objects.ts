/** The two kinds of Durable Objects as others see them: what each can be asked, and what goes in and out. */
import type { JobEvent, JobRequest, PlanEvent, WorkerEvent } from "../protocol/job.ts";
import type { Adapter, DeliveryAnswer, Lease } from "../protocol/messages.ts";
import type { ModelInfo } from "../protocol/model-info.ts";

/** Where the objects are found: bindings of wrangler.toml. */
export interface Objects {
	JOB: DurableObjectNamespace<JobObject>;
	POOL: DurableObjectNamespace<PoolObject>;
}

/** One event as readers get it: JSON of the protocol event, without the codes. */
export interface LogRow {
	n: number;
	type: JobEvent["type"];
	json: string;
}

export interface LogPage {
	rows: LogRow[];
	/** True when the job has ended and nothing comes after these rows. */
	ended: boolean;
}

export interface NewJob {
	request: JobRequest;
	/** Name of the pool it will be queued in. */
	pool: string;
	bitsPerToken: number;
	event: Omit<PlanEvent, "type" | "job">;
}

/** One picture being made. */
export interface JobObject {
	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	create(job: NewJob): Promise<void>;
	/** Forgets a job that its pool refused. */
	discard(): Promise<void>;
	/**
	 * Events after number `after`; waits up to `wait` milliseconds when there are none yet. Counts as presence.
	 * Null when the job is unknown, or its log was deleted.
	 */
	read(after: number, wait: number): Promise<LogPage | null>;
	/** A reader is still there, though it may not be ready for more. */
	present(): void;
	/** The next attempt, with the codes of the scales logged so far; null when nothing is left to do. */
	lease(): Promise<Lease | null>;
	/** Whether nothing is left to do: finished, failed, or forgotten. */
	ended(): boolean;
	/** Takes an event of the attempt that holds the job. */
	deliver(attempt: number, event: WorkerEvent): Promise<DeliveryAnswer | { refused: string }>;
	/** Ends the job with an error, unless it has ended. */
	fail(code: string, message: string): Promise<void>;
}

export interface WorkerStatus {
	worker: string;
	adapter: Adapter;
	/** Model id, digest and numerics id of each model it offers. */
	models: { id: string; digest: string; numerics: string }[];
	busy: number;
	slots: number;
	draining: boolean;
}
export interface PoolStatus {
	workers: WorkerStatus[];
	/** Offered by a worker that takes leases, in the order the workers came; the first is the default. */
	models: { info: ModelInfo; since: number }[];
	queue: number;
	/** Whether the queue takes one more. */
	room: boolean;
}

/** A pool of GPU workers; its `fetch` is the WebSocket of a worker whose secret the route has checked. */
export interface PoolObject {
	/** Queues jobs for workers that offer this model digest: all of them, or none. */
	enqueue(jobs: readonly string[], digest: string): Promise<"queued" | "full" | "no-worker">;
	/** Nobody waits for this job any more: out of the queue, or stopped where it runs. */
	cancel(job: string): Promise<void>;
	status(): Promise<PoolStatus>;
}

/**
 * Which pool serves a model. One for all today; splitting by model or region changes this function and nothing else.
 */
export function poolNameOf(_model?: string): string {
	return "default";
}

export function poolNamed(objects: Pick<Objects, "POOL">, name: string): DurableObjectStub<PoolObject> {
	return objects.POOL.get(objects.POOL.idFromName(name));
}
