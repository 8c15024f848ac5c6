/** The kinds of Durable Objects as others see them: what each can be asked, and what goes in and out. */

import type { KeyDescription, Limits, Scope } from "../protocol/api-key.ts";
import type { JobRequest, PlanEvent, ScaleEvent, WorkerEvent } from "../protocol/job.ts";
import type { JobMode, JobResource } from "../protocol/jobs.ts";
import type { Adapter, DeliveryAnswer, Lease, Loading } from "../protocol/messages.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Left } from "./admission/bucket.ts";
import type { LoggedEvent } from "./job/kept-picture.ts";
import type { Seen } from "./pool/tally.ts";

/** Where the objects are found: bindings of wrangler.toml. */
export interface Objects {
	JOB: DurableObjectNamespace<JobObject>;
	POOL: DurableObjectNamespace<PoolObject>;
	CLAIM: DurableObjectNamespace<ClaimObject>;
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
	/** Checks a request and counts it; one that `begins` pictures is refused where the day has none left. */
	enter(pass: Pass, begins: boolean): Promise<Entered>;
	/** Counts the pictures of these jobs, all or none, which are over by `until`, in milliseconds. */
	charge(limits: Limits, jobs: readonly string[], until: number): Promise<Charged>;
	/** They were not queued after all. What is left then. */
	giveBack(limits: Limits, jobs: readonly string[]): Promise<Left>;
	/** A job has ended. */
	ended(job: string): Promise<void>;
}

/** `busy`: as many are being made as may be at once. `wait`: milliseconds until there are more. */
export type Charged = { left: Left; refused?: undefined } | { refused: "quota"; wait: number } | { refused: "busy" };

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
export interface KeptTrunk {
	request: JobRequest;
	/** As a job keeps it (job/record.ts). */
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
	trunk?: Omit<KeptTrunk, "request">;
	event: Omit<PlanEvent, "type" | "job">;
	/** Interactive where it is left out. */
	mode?: JobMode;
	/** Of a background job: how long it is kept after its end, and may at least take before it. */
	ttlSeconds?: number;
	webhook?: WebhookTarget;
	/** Where clients reach this edge, for the addresses in a webhook. */
	base?: string;
	/** Whether its owner may find the finished picture again. */
	findable?: boolean;
}

export interface WebhookTarget {
	url: string;
	/** Absent: the operator's. */
	secret?: string;
}

/** A job as it knows itself: all but its place in the queue. */
export type JobFacts = Omit<JobResource, "state" | "place" | "estimate_seconds" | "links"> & {
	/** Null while there is something left to do. */
	outcome: Outcome | null;
	pool: string;
};
export type Outcome = "done" | "failed" | "cancelled";

/**
 * One picture being made. Its `fetch`, with the number of an event as path and who asks in a header, streams the events
 * after that one as they come (readers.ts); whoever holds the stream is there. To others than its owner it is unknown.
 */
export interface JobObject {
	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	create(job: NewJob): Promise<void>;
	/**
	 * Starts and ends it with what a finished job has in its log, which need not be made again; false where that one is
	 * not there any more.
	 */
	copy(job: NewJob, finished: string): Promise<boolean>;
	/** All of its log, where it is done; else null. */
	whole(): Promise<LoggedEvent[] | null>;
	/** Forgets a job that its pool refused. */
	discard(): Promise<void>;
	/** Whether everything was seen by whoever saw event `after`; null when the job is unknown, or its log was deleted. */
	seen(owner: Owner, after: number): Promise<boolean | null>;
	/** JSON of the final event, as it is logged; null where there is none, or the log was deleted. */
	final(): Promise<string | null>;
	/**
	 * The next attempt, by a worker of this numerics id, with the codes of the scales logged so far; null when nothing is
	 * left to do.
	 */
	lease(numerics: string): Promise<Lease | null>;
	/** How it ended; a forgotten one counts as cancelled. Null while something is left to do. */
	outcome(): Outcome | null;
	/** The same; and what this attempt delivers from now on is refused. */
	disown(attempt: number): Promise<Outcome | null>;
	/** Null where there is no such job, or none any more. */
	ended(): boolean | null;
	/** What its resource shows; null when the job is unknown. */
	facts(owner: Owner): Promise<JobFacts | null>;
	/** Takes an event of the attempt that holds the job. */
	deliver(attempt: number, event: WorkerEvent): Promise<DeliveryAnswer | { refused: string }>;
	/**
	 * Plans the job for another version of its model, and says what its worker must be able to do now; null once a scale
	 * was made, or where there is no such plan.
	 */
	replan(model: ModelInfo): Promise<string[] | null>;
	/** What another picture needs to go on from the first scales of this one; null when the job is unknown. */
	trunk(owner: Owner, scales: number): Promise<KeptTrunk | null>;
	/**
	 * Nobody wants the picture any more: ended, and stopped where it runs. One that has ended is deleted. False where it
	 * is not theirs.
	 */
	remove(owner: Owner): Promise<boolean>;
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
	/** Under which a new picture may be made. */
	numerics: string[];
}
/** For a job of some version that comes now. */
export interface Outlook {
	/** Jobs that wait for it. */
	waiting: number;
	/** Slots that nothing is made in. */
	free: number;
	/** Until it begins; null where its workers have made nothing to tell by. */
	waitMs: number | null;
	/** Until the first of what its workers have in hand leaves its slot; null where nothing will, or nothing tells. */
	nextMs: number | null;
	/** Milliseconds a unit of cost (worker/policies/cost.ts) on the worker that will have it. */
	pace: number | null;
}
/** A version that new jobs can be queued for. */
export interface Offered extends Version, Outlook {
	/** Jobs that wait in the queues of its pools, of whatever model, and how many may. */
	queued: number;
	places: number;
	/** Whether one more may wait, or begins at once. */
	room: boolean;
}
export interface PoolOffer {
	/** In the order they came; the first is the default. Each shows its oldest version, and has them all. */
	models: { info: ModelInfo; since: number; versions: Offered[] }[];
	queue: number;
	/** Jobs that wait or are in a worker's hand. */
	load: number;
}
/** For whom jobs are queued, and what that weighs. */
export interface Customer {
	owner: Owner;
	weight: number;
}
/** What is to be known of jobs beside their model. */
export interface Wanted {
	/** Of each (worker/policies/cost.ts). */
	cost?: number;
	/** What their worker must be able to do (worker/protocol/capabilities.ts). */
	needs?: readonly string[];
	by?: Customer;
}
/**
 * `unable`: the model is offered, and by nobody who can do what is needed. `most`: so many can be taken together with
 * nothing else to do, and these are more.
 */
export type Enqueued = "queued" | "full" | "no-worker" | "unable" | { most: number };

export interface PoolStatus extends PoolOffer {
	workers: WorkerStatus[];
	/** Workers that are not ready yet. */
	loading: Loading[];
}

/** Where a job stands in its pool. */
export interface Standing {
	/** Jobs before it in the queue; null where a worker has it. */
	ahead: number | null;
	/** Until it is done, by what its workers took before; null where that is not known. */
	milliseconds: number | null;
}

/** The name that a worker's token has, and until when it is good, as the route that checked it tells the pool. */
export const WORKER_HEADERS = { name: "x-firstlight-worker", until: "x-firstlight-until" } as const;

/**
 * A pool of GPU workers; its `fetch` is the WebSocket of a worker whose credentials the route has checked, under the
 * name that they give it.
 */
export interface PoolObject {
	/**
	 * Queues jobs, all or none, for workers that offer this model digest and can do what is needed.
	 */
	enqueue(jobs: readonly string[], digest: string, wanted?: Wanted): Promise<Enqueued>;
	/** Null where it is not in the books. */
	standing(job: string): Promise<Standing | null>;
	/** Nobody waits for this job any more: out of the books, and stopped where it runs. `reason`: the error's code. */
	cancel(job: string, reason?: string): Promise<void>;
	/** Nothing came of a lease for too long. */
	stalled(job: string, attempt: number): Promise<void>;
	/**
	 * What new jobs can be queued for now. Where nothing can, but workers that were there may be about to dial again, it
	 * waits for one for up to so many seconds.
	 */
	offer(patience?: number): Promise<PoolOffer>;
	/** For people; not older than a second. */
	status(): Promise<PoolStatus>;
	/** What it has seen, in Prometheus's text format. */
	metrics(): Promise<Seen>;
	/** Names that are not let in. */
	revokedWorkers(): Promise<string[]>;
	/** Whether a worker may come. One that is revoked is dropped at once. */
	judge(worker: string, revoked: boolean): Promise<void>;
	/** A worker that is not ready yet says how far it is. */
	loading(loading: Loading): Promise<void>;
}

/** What was found under a name. `other`: it was taken for something else. `busy`: what it stands for is being made. */
export type Taken = { is: "new"; hold: Hold } | { is: "busy" } | { is: "other" } | { is: "kept"; value: string };

/** Of whoever took a name: what it was taken for, and who they are. */
export interface Hold {
	fingerprint: string;
	by: string;
}

/** What a name stands for, for a time (claim/claim.ts). */
export interface ClaimObject {
	take(fingerprint: string): Promise<Taken>;
	/** `until`, in milliseconds since 1970. */
	keep(value: string, until: number, hold?: Hold): Promise<void>;
	drop(of: string | Hold): Promise<void>;
	value(): Promise<string | null>;
}

export function poolNamed(objects: Pick<Objects, "POOL">, name: string): DurableObjectStub<PoolObject> {
	return objects.POOL.get(objects.POOL.idFromName(name));
}
