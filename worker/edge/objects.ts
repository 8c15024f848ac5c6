/** The Durable Objects as others see them: what each can be asked, and what goes in and out. */
import type { KeyDescription, Limits, Scope } from "../protocol/api-key.ts";
import type { JobRequest, PlanEvent, ScaleEvent, WorkerEvent } from "../protocol/job.ts";
import type { Adapter, DeliveryAnswer, Lease } from "../protocol/messages.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Left } from "./admission/bucket.ts";

/** Where the objects are found: bindings of wrangler.toml. */
export interface Objects {
	JOB: DurableObjectNamespace<JobObject>;
	POOL: DurableObjectNamespace<PoolObject>;
	ACCOUNT: DurableObjectNamespace<AccountObject>;
	KEYRING: DurableObjectNamespace<KeyringObject>;
}

/**
 * Whose a job is: the name of the account that it was made for, or null where no key was asked for. What others ask of
 * it finds nothing.
 */
export type Owner = string | null;

/** A key as its account keeps it. Times in milliseconds. */
export interface KeyRecord {
	/** SHA-256 of the key, in hex. */
	hash: string;
	scopes: readonly Scope[];
	limits: Limits;
	expires: number | null;
	revoked: number | null;
}

/** How a request is known: by its key, by a ticket whose signature was checked, or not at all, under these limits. */
export type Pass = { hash: string } | { ticket: true } | { limits: Limits; scopes: readonly Scope[] };

export type Entered =
	| { scopes: readonly Scope[]; limits: Limits; left: Left }
	/** No such key, or not any more. */
	| { refused: "unknown" }
	/** `wait`: milliseconds until it would be taken. */
	| { refused: "rate" | "quota"; wait: number; limits: Limits; left: Left };

/** One key, or one address without. */
export interface AccountObject {
	open(record: KeyRecord): Promise<void>;
	/** False where there is no such key. */
	revoke(at: number): Promise<boolean>;
	/** Checks a request and counts it, with so many pictures. */
	enter(pass: Pass, pictures: number): Promise<Entered>;
	/** So many pictures more or, below zero, fewer than were counted. */
	settle(pictures: number): Promise<void>;
}

/** All keys, as they were minted. */
export interface KeyringObject {
	put(key: KeyDescription): Promise<void>;
	get(id: string): Promise<KeyDescription | null>;
	list(): Promise<KeyDescription[]>;
}

/** The account of this name: a key's id, or an address. */
export function accountNamed(objects: Pick<Objects, "ACCOUNT">, name: string): DurableObjectStub<AccountObject> {
	return objects.ACCOUNT.get(objects.ACCOUNT.idFromName(name));
}

export function keyringOf(objects: Pick<Objects, "KEYRING">): DurableObjectStub<KeyringObject> {
	return objects.KEYRING.get(objects.KEYRING.idFromName("keys"));
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
	owner: Owner;
	/** Of the request that it is for: its trace context and its id. */
	traceparent?: string;
	requestId?: string;
	/** Name of the pool it will be queued in. */
	pool: string;
	bitsPerToken: number;
	/** First scales that are there already, of another picture, and under which numerics they were made. */
	trunk?: Omit<TrunkOf, "request">;
	event: Omit<PlanEvent, "type" | "job">;
}

/**
 * One picture being made. Its `fetch`, with the number of an event as path and who asks in a header, streams the events
 * after that one as they come (readers.ts); whoever holds the stream is there. To others than its owner it is unknown.
 */
export interface JobObject {
	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	create(job: NewJob): Promise<void>;
	/** Forgets a job that its pool refused. */
	discard(): Promise<void>;
	/** Whether everything was seen by whoever saw event `after`; null when the job is unknown, or its log was deleted. */
	seen(owner: Owner, after: number): Promise<boolean | null>;
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
	/** Plans the job for another version of its model; false once a scale was made, or where there is no such plan. */
	replan(model: ModelInfo): Promise<boolean>;
	/** What another picture needs to go on from the first scales of this one; null when the job is unknown. */
	trunk(owner: Owner, scales: number): Promise<TrunkOf | null>;
	/** Nobody wants the picture any more: ended, and stopped where it runs. False where it is not theirs to stop. */
	stop(owner: Owner): Promise<boolean>;
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
	/** Whether the queue takes one more; if not, `wait` is how many milliseconds it takes for a place to be free. */
	room: boolean;
	wait: number;
}
/** For whom jobs are queued: what that weighs, and how many it may have at once. */
export interface Customer {
	owner: Owner;
	weight: number;
	concurrent: number;
}
/** `busy`: it has as many at once as it may. `wait`: milliseconds after which it is worth while to ask again. */
export type Enqueued = "queued" | "no-worker" | { refused: "full" | "busy"; wait: number };

export interface PoolStatus extends PoolOffer {
	workers: WorkerStatus[];
}

/** The name that a worker's token has, as the route that checked it tells the pool. */
export const WORKER_HEADER = "x-firstlight-worker";

/**
 * A pool of GPU workers; its `fetch` is the WebSocket of a worker whose credentials the route has checked, under the
 * name that they give it.
 */
export interface PoolObject {
	/** Queues jobs, all or none, for workers that offer this model digest. */
	enqueue(jobs: readonly string[], digest: string, by?: Customer): Promise<Enqueued>;
	/** Nobody waits for this job any more: out of the books, and stopped where it runs. `reason`: the error's code. */
	cancel(job: string, reason?: string): Promise<void>;
	/** Nothing came of a lease for too long. */
	stalled(job: string, attempt: number): Promise<void>;
	/** What new jobs can be queued for now. */
	offer(): Promise<PoolOffer>;
	/** For people; not older than a second. */
	status(): Promise<PoolStatus>;
	/** What it has seen, in Prometheus's text format. */
	metrics(): Promise<string>;
	/** Names that are not let in. */
	revokedWorkers(): Promise<string[]>;
	/** Whether a worker may come. One that is revoked is dropped at once. */
	judge(worker: string, revoked: boolean): Promise<void>;
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
