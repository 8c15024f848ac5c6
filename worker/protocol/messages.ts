/**
 * Messages between a GPU worker and its pool, over one WebSocket as JSON text. Scales go to the job by HTTP, not here.
 */
import { z } from "zod";
import { JobRequest, PackedCodes } from "./job.ts";
import { ModelInfo } from "./model-info.ts";
import { MAX_SCALES } from "./plan.ts";

export const PROTOCOL_VERSION = 2;

export const Adapter = z.strictObject({
	/** For people, for example `SwiftShader (CPU) via Dawn`. */
	name: z.string().max(200),
	/** True when the adapter runs on the CPU: said wherever the adapter is named. */
	software: z.boolean(),
	runtime: z.enum(["node", "deno", "browser"]),
	driver: z.string().max(200),
});
export type Adapter = z.infer<typeof Adapter>;

export const Hello = z.strictObject({
	type: z.literal("hello"),
	version: z.literal(PROTOCOL_VERSION),
	worker: z.string().min(1).max(64),
	adapter: Adapter,
	models: z
		.array(z.strictObject({ info: ModelInfo, numerics: z.string().max(128) }))
		.min(1)
		.max(64),
	slots: z.int().min(1).max(64),
});
export type Hello = z.infer<typeof Hello>;

/** Worker to pool. */
export const WorkerMessage = z.discriminatedUnion("type", [
	Hello,
	/** Sent on the period that `welcome` names; `leases` are the jobs in hand. */
	z.strictObject({ type: z.literal("heartbeat"), leases: z.array(z.string()).max(64) }),
	/** The lease ended: done (delivered or told to stop), or handed back unfinished to go on elsewhere. */
	z.strictObject({
		type: z.literal("release"),
		job: z.string(),
		attempt: z.int().min(1),
		outcome: z.enum(["done", "handed-back"]),
		/** Why it was handed back, for the log. */
		reason: z.string().max(500),
	}),
	/** No new leases; those in hand are finished. */
	z.strictObject({ type: z.literal("draining") }),
]);
export type WorkerMessage = z.infer<typeof WorkerMessage>;

export const Lease = z.strictObject({
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
});
export type Lease = z.infer<typeof Lease>;

/** Pool to worker. */
export const PoolMessage = z.discriminatedUnion("type", [
	z.strictObject({ type: z.literal("welcome"), heartbeatSeconds: z.number().min(0.1) }),
	z.strictObject({ type: z.literal("refused"), reason: z.string() }),
	Lease,
	/** Stop this job after the scale in hand; nobody waits for it any more. */
	z.strictObject({ type: z.literal("cancel"), job: z.string(), attempt: z.int().min(1) }),
]);
export type PoolMessage = z.infer<typeof PoolMessage>;

/** Answer to a delivered event. */
export const DeliveryAnswer = z.strictObject({ go: z.enum(["on", "stop"]) });
export type DeliveryAnswer = z.infer<typeof DeliveryAnswer>;

/** Header of the WebSocket handshake that carries the workers' shared secret. */
export const WORKER_SECRET_HEADER = "authorization";
/** Path a worker dials. */
export const CONNECT_PATH = "/internal/pool/connect";
