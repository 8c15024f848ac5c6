/** What interleavings are played on: the edge's own pool and jobs, in workerd or in virtual time. */
import type { WorkerEvent } from "../../worker/protocol/job.ts";
import type { Lease, PoolMessage } from "../../worker/protocol/messages.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";

/** A worker's socket to the pool. */
export interface Link {
	readonly open: boolean;
	/** What came since it was asked last. */
	take(): PoolMessage[];
	send(message: object): void;
	/** The connection breaks. */
	cut(): void;
	/** It is closed in good order, for good. */
	leave(): void;
}

export interface Seen {
	n: number;
	type: string;
	json: { index?: number; code?: string; sha256?: string };
}

/** A reader's stream. */
export interface Reading {
	readonly job: string;
	readonly events: Seen[];
	readonly ended: boolean;
	/** Its log was deleted under it, between two of its streams. */
	readonly gone?: boolean;
	/** The reader goes away. */
	leave(): Promise<void>;
}

export interface World {
	readonly model: ModelInfo;
	/** The edge's settings, in milliseconds. */
	readonly times: { heartbeat: number; grace: number; deadline: number };
	/** As the worker of this name. */
	dial(worker: string): Promise<Link>;
	/** A new picture; null where the edge has no room or no worker. */
	ask(seed: number): Promise<Reading | null>;
	/** Reads on after an event; null where the job is forgotten. */
	resume(job: string, after: number): Promise<Reading | null>;
	cancel(job: string): Promise<void>;
	scale(lease: Lease, index: number): WorkerEvent;
	final(lease: Lease): WorkerEvent;
	deliver(lease: Lease, event: WorkerEvent): Promise<"on" | "stop" | "refused">;
	/** The same, and the job loses its memory as it writes what it was given: "lost", where it came to write. */
	lose(lease: Lease, event: WorkerEvent): Promise<"on" | "stop" | "refused" | "lost">;
	/** Memory is forgotten, storage and sockets stay: the pool's, or a job's. */
	evict(job: string | null): Promise<void>;
	/** An alarm out of its time: the pool's, or a job's. */
	ring(job: string | null): Promise<void>;
	/** From now on alarms come so much too late. */
	late(milliseconds: number): void;
	wait(milliseconds: number): Promise<void>;
	status(): Promise<{ queue: number; workers: { busy: number; slots: number }[] }>;
	now(): number;
	/** Everybody goes. */
	close(): Promise<void>;
}
