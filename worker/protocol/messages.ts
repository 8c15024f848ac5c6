/**
 * Messages between a GPU worker and its pool, over one WebSocket as JSON text. Scales go to the job by HTTP, not here.
 * Workers and edge are upgraded one after the other: a field that one side does not know is passed over, and the
 * version is the newest that both speak.
 */
import { z } from "zod";
import { Pace } from "./allowance.ts";
import { FIRST_CAPABILITIES } from "./capabilities.ts";
import { JobRequest, PackedCodes } from "./job.ts";
import { ModelInfo } from "./model-info.ts";
import { MAX_SCALES } from "./plan.ts";
import { TraceParent } from "./trace.ts";

/** The oldest and the newest version that this release speaks. */
export const VERSIONS = { min: 3, max: 3 } as const;

/** A sign of life, and its answer, which the edge's runtime gives without waking the pool. Not JSON. */
export const PING = "ping";
export const PONG = "pong";

export const Adapter = z.object({
	/** For people, for example `SwiftShader (CPU) via Dawn`. */
	name: z.string().max(200),
	/** True when the adapter runs on the CPU: said wherever the adapter is named. */
	software: z.boolean(),
	runtime: z.enum(["node", "deno", "browser"]),
	driver: z.string().max(200),
});
export type Adapter = z.infer<typeof Adapter>;

/** A lease in a worker's hand. */
export const Holding = z.object({ job: z.string().max(64), attempt: z.int().min(1) });
export type Holding = z.infer<typeof Holding>;
const Holdings = z.array(Holding).max(256);

export const Hello = z.object({
	type: z.literal("hello"),
	versions: z.object({ min: z.int(), max: z.int() }),
	worker: z.string().min(1).max(64),
	/** Of this process. A name that comes again with another one is another process. */
	instance: z.string().min(1).max(64),
	adapter: Adapter,
	models: z
		.array(z.object({ info: ModelInfo, numerics: z.string().max(128) }))
		.min(1)
		.max(64),
	slots: z.int().min(1).max(64),
	/** What it can do (capabilities.ts): it is leased nothing that asks for more. Names that are not known do no harm. */
	capabilities: z
		.array(z.string().max(64))
		.max(64)
		.default([...FIRST_CAPABILITIES]),
	/** From before its connection was lost: they stay its own where nobody else has got them. */
	holding: Holdings,
});
export type Hello = z.infer<typeof Hello>;

/** What a worker says of a picture that it has finished, for logs and metrics. */
export const Made = z.object({
	/** Milliseconds from the lease to the first scale's delivery, and to the end. */
	first: z.number().min(0).nullable(),
	whole: z.number().min(0),
	/** Number and milliseconds of each scale that it ran. */
	scales: z.array(z.tuple([z.int().min(0), z.number().min(0)])).max(MAX_SCALES),
	/** Bytes of device memory in use. */
	memory: z.int().min(0),
	policy: z.string().max(64),
	/** As the lease had them. */
	traceparent: TraceParent.optional(),
	requestId: z.string().max(64).optional(),
});
export type Made = z.infer<typeof Made>;

/** How far a worker is with a model that it cannot draw with yet. */
export const Loading = z.object({
	worker: Hello.shape.worker,
	model: ModelInfo.shape.id,
	/** Weights come first, then the kernels are compiled. */
	part: z.enum(["weights", "kernels"]),
	/** Share of that part, from 0 to 1. */
	done: z.number().min(0).max(1),
});
export type Loading = z.infer<typeof Loading>;

/** Worker to pool. */
export const WorkerMessage = z.discriminatedUnion("type", [
	Hello,
	/** On the period that `welcome` names, while there is something in hand. */
	z.object({ type: z.literal("heartbeat"), holding: Holdings }),
	/** The lease ended: done (delivered or told to stop), or handed back unfinished to go on elsewhere. */
	z.object({
		type: z.literal("release"),
		...Holding.shape,
		outcome: z.enum(["done", "handed-back"]),
		/** Of one handed back: whether the worker failed at it, or has to stop. */
		cause: z.enum(["failed", "preempted"]).default("failed"),
		/** Why it was handed back, for the log. */
		reason: z.string().max(500),
		made: Made.optional(),
	}),
	/** No new leases; those in hand are finished. */
	z.object({ type: z.literal("draining") }),
	/** Another token in its name, before the one that it dialled with ends. */
	z.object({ type: z.literal("renew"), token: z.string().max(1024) }),
]);
export type WorkerMessage = z.infer<typeof WorkerMessage>;

export const Lease = z.object({
	type: z.literal("lease"),
	job: z.string(),
	/** Fence: deliveries of an older attempt are refused. */
	attempt: z.int().min(1),
	/** Signed for (job, attempt); bearer token of deliveries. */
	token: z.string(),
	/** Path to POST WorkerEvents to, on the host the worker dialled. */
	deliver: z.string().startsWith("/"),
	request: JobRequest,
	/** Codes of the scales already logged by earlier attempts: replayed, not delivered again. */
	codes: z.array(PackedCodes).max(MAX_SCALES),
	/** Numerics id under which these were made, or `mixed`; null while there are none. */
	madeUnder: z.string().nullable(),
	/** How long the newest of them took. */
	pace: Pace.nullable(),
	/** Of the request that the picture is for (trace.ts), and its id. */
	traceparent: TraceParent.optional(),
	requestId: z.string().max(64).optional(),
});
export type Lease = z.infer<typeof Lease>;

/** Its token ends after so long, and with it the connection. An edge that does not say so asks for no other. */
const RenewSeconds = z.number().min(0);

/** Pool to worker. */
export const PoolMessage = z.discriminatedUnion("type", [
	z.object({
		type: z.literal("welcome"),
		version: z.int(),
		heartbeatSeconds: z.number().min(0.1),
		renewSeconds: RenewSeconds.optional(),
	}),
	/** The new token was taken. */
	z.object({ type: z.literal("renewed"), renewSeconds: RenewSeconds }),
	/** For good: dialling again would be answered the same. */
	z.object({ type: z.literal("refused"), reason: z.string() }),
	Lease,
	/** Stop this job after the scale in hand; nobody waits for it from this worker any more. */
	z.object({ type: z.literal("cancel"), ...Holding.shape }),
]);
export type PoolMessage = z.infer<typeof PoolMessage>;

/** Answer to a delivered event. */
export const DeliveryAnswer = z.object({ go: z.enum(["on", "stop"]) });
export type DeliveryAnswer = z.infer<typeof DeliveryAnswer>;

/** A worker's name: of its log, and what a token is for. */
export const WorkerName = z
	.string()
	.regex(/^[A-Za-z0-9._-]{1,64}$/, "must be 1 to 64 letters, digits, dots, dashes or underscores");

/** What a worker asks for with the registration secret: a token in its name, and one for each model it will load. */
export const Registration = z.object({ worker: WorkerName, models: z.array(z.string().max(128)).max(64).default([]) });
export const Registered = z.object({
	/** To dial the pool with. */
	token: z.string(),
	/** When that ends, in seconds since 1970. */
	expires: z.int(),
	models: z.record(z.string(), z.string()),
});
export type Registered = z.infer<typeof Registered>;

/** Path a worker registers at. */
export const REGISTER_PATH = "/internal/workers/token";
/** Path that a worker which is not ready yet posts a Loading to, now and then; an edge that has none is not missed. */
export const LOADING_PATH = "/internal/pool/loading";

/** Path a worker dials. */
export const CONNECT_PATH = "/internal/pool/connect";
