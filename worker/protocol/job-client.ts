/** Jobs as a client has them: made, looked at, told to end. Their events are client.ts's. Needs fetch alone. */
import type { z } from "zod";
import { type ClientOptions, pause, refusal, under } from "./client.ts";
import { JobList, type JobMode, JobResource } from "./jobs.ts";

/** How a job's picture is made, kept and told of. */
export interface JobManner {
	policy?: string;
	/** A plan, or its steps, in place of a policy. */
	plan?: unknown;
	quality?: "high" | "medium" | "low";
	/** Milliseconds within which the picture is wanted. */
	max_ms?: number;
	until?: number;
	format?: "png" | "webp" | "jpeg";
	compression?: number;
	previews?: "all" | "none" | number;
	mode?: JobMode;
	ttl_seconds?: number;
	webhook?: { url: string; secret?: string };
}

/** As `POST /v1/jobs` takes it; left out: the edge's own choice. */
export interface JobAsk extends JobManner {
	prompt?: string;
	class?: number;
	model?: string;
	n?: number;
	seed?: number;
	schedule?: string;
	size?: string;
	/** `false`: made anew, though it may be there already. */
	cache?: boolean;
	from?: string;
	scales?: number;
}

type Options = Pick<ClientOptions, "url" | "key" | "signal" | "fetch">;

/**
 * Jobs in the order of their seeds. `once`: an Idempotency-Key, under which the same request can be sent again and is
 * done once; it is sent once more where the connection breaks. Throws RefusedError, as all here do.
 */
export async function createJobs(ask: JobAsk, options: Options, once?: string): Promise<JobResource[]> {
	const { data } = await read(JobList, await send("POST", "v1/jobs", options, ask, once));
	return data;
}

/** A job's picture by another plan, from its own first scales: as many as can be, or `scales`. */
export async function refineJob(
	job: string,
	ask: JobManner & { scales?: number },
	options: Options,
	once?: string,
): Promise<JobResource> {
	const { data } = await read(JobList, await send("POST", `${pathOf(job)}/refine`, options, ask, once));
	return data[0];
}

/** `count` siblings that share the job's first `from` scales. */
export async function branchJob(
	job: string,
	ask: JobManner & { from: number; count?: number; seed?: number },
	options: Options,
	once?: string,
): Promise<JobResource[]> {
	const { data } = await read(JobList, await send("POST", `${pathOf(job)}/branch`, options, ask, once));
	return data;
}

export async function getJob(job: string, options: Options): Promise<JobResource> {
	return read(JobResource, await send("GET", pathOf(job), options));
}

/** Ends a job; one that has ended is deleted. */
export async function removeJob(job: string, options: Options): Promise<void> {
	await send("DELETE", pathOf(job), options);
}

const pathOf = (job: string): string => `v1/jobs/${encodeURIComponent(job)}`;

/** How often what was cut off is asked for, while the edge still works on it. */
const TRIES = 15;

async function send(
	method: string,
	path: string,
	{ url, key, signal, fetch = globalThis.fetch }: Options,
	body?: object,
	once?: string,
): Promise<Response> {
	const headers: Record<string, string> = { accept: "application/json" };
	if (key !== undefined) headers.authorization = `Bearer ${key}`;
	if (once !== undefined) headers["idempotency-key"] = once;
	if (body !== undefined) headers["content-type"] = "application/json";
	const ask = () => fetch(under(url, path).href, { method, headers, signal, body: JSON.stringify(body) });
	const again = async (): Promise<Response> => {
		for (let tries = 1; ; tries++) {
			const response = await ask();
			if (response.status !== 409 || tries === TRIES) return response;
			const refused = await refusal(response);
			// The first sending is still being worked on; its answer is this one's.
			if (refused.code !== "idempotency_key_in_use") throw refused;
			await pause(1000 * (refused.retryAfter ?? 1), signal);
		}
	};
	const response = await ask().catch((error: unknown) => {
		signal?.throwIfAborted();
		// A kept connection may break as it is used again. What is done once however often it is sent is sent again.
		if (method !== "GET" && once === undefined) throw error;
		return again();
	});
	if (!response.ok) throw await refusal(response);
	return response;
}

async function read<S extends z.ZodType>(schema: S, response: Response): Promise<z.infer<S>> {
	return schema.parse(await response.json());
}
