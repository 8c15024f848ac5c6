/** The two kinds of Durable Objects as others see them: what each can be asked, and what goes in and out. */
import type { JobRequest, PlanEvent, ScaleEvent, WorkerEvent } from "../protocol/job.ts";
import type { Adapter, DeliveryAnswer, Lease } from "../protocol/messages.ts";
import type { ModelInfo } from "../protocol/model-info.ts";

/** Where the objects are found: bindings of wrangler.toml. */
export interface Objects {
	JOB: DurableObjectNamespace<JobObject>;
	POOL: DurableObjectNamespace<PoolObject>;
}

/** The first scales of a picture, for another one to go on from. */
export interface TrunkOf {
	request: JobRequest;
	/** As a job keeps it (job-record.ts). */
	madeUnder: string | null;
	scales: ScaleEvent[];
}

export interface NewJob {
	request: JobRequest;
	/** Name of the pool it will be queued in. */
	pool: string;
	bitsPerToken: number;
	/** First scales that are there already, of another picture, and under which numerics they were made. */
	trunk?: Omit<TrunkOf, "request">;
	event: Omit<PlanEvent, "type" | "job">;
}

/**
 * One picture being made. Its `fetch`, with the number of an event as path, streams the events after that one as they
 * come (readers.ts); whoever holds the stream is there.
 */
export interface JobObject {
	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	create(job: NewJob): Promise<void>;
	/** Forgets a job that its pool refused. */
	discard(): Promise<void>;
	/** Whether everything was seen by whoever saw event `after`; null when the job is unknown, or its log was deleted. */
	seen(after: number): Promise<boolean | null>;
	/** JSON of the final event; null where there is none, or the log was deleted. */
	final(): Promise<string | null>;
	/**
	 * The next attempt, by a worker of this numerics id, with the codes of the scales logged so far; null when nothing is
	 * left to do.
	 */
	lease(numerics: string): Promise<Lease | null>;
	/** Whether nothing is left to do: finished, failed, or forgotten. */
	ended(): boolean;
	/** Takes an event of the attempt that holds the job. */
	deliver(attempt: number, event: WorkerEvent): Promise<DeliveryAnswer | { refused: string }>;
	/**
	 * Plans the job for another version of its model, and says what its worker must be able to do now; null once a scale
	 * was made, or where there is no such plan.
	 */
	replan(model: ModelInfo): Promise<string[] | null>;
	/** What another picture needs to go on from the first scales of this one; null when the job is unknown. */
	trunk(scales: number): Promise<TrunkOf | null>;
	/** Nobody wants the picture any more: ended, and stopped where it runs. */
	stop(): Promise<void>;
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
/** A model as workers that take leases offer it: under one name there may be several versions. */
export interface Version {
	info: ModelInfo;
	/** When the first of its workers came. */
	since: number;
	/** Of all its workers. */
	slots: number;
}
export interface PoolOffer {
	/** In the order they came; the first is the default. Each shows its oldest version, and has them all. */
	models: { info: ModelInfo; since: number; versions: Version[] }[];
	queue: number;
	/** Jobs that wait or are in a worker's hand. */
	load: number;
	/** Whether the queue takes one more. */
	room: boolean;
}
export interface PoolStatus extends PoolOffer {
	workers: WorkerStatus[];
}

/** `unable`: the model is offered, and by nobody who can do what is needed. */
export type Enqueued = "queued" | "full" | "no-worker" | "unable";

/** A pool of GPU workers; its `fetch` is the WebSocket of a worker whose secret the route has checked. */
export interface PoolObject {
	/** Queues jobs, all or none, for workers that offer this model digest and can do what is needed (capabilities.ts). */
	enqueue(jobs: readonly string[], digest: string, needs?: readonly string[]): Promise<Enqueued>;
	/** Nobody waits for this job any more: out of the books, and stopped where it runs. */
	cancel(job: string): Promise<void>;
	/** Nothing came of a lease for too long. */
	stalled(job: string, attempt: number): Promise<void>;
	/** What new jobs can be queued for now. */
	offer(): Promise<PoolOffer>;
	/** For people; not older than a second. */
	status(): Promise<PoolStatus>;
}

export function poolNamed(objects: Pick<Objects, "POOL">, name: string): DurableObjectStub<PoolObject> {
	return objects.POOL.get(objects.POOL.idFromName(name));
}
