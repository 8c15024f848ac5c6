/** What the routes take and give, as data, out of the schemas that they parse with. */
import { z } from "zod";
import { KeyDescription, KeyList, MintedKey, NewKey } from "../../protocol/api-key.ts";
import { ErrorEvent, FinalEvent, PlanEvent, RevisionEvent, ScaleEvent } from "../../protocol/job.ts";
import { JobList, JobResource, WebhookMessage } from "../../protocol/jobs.ts";
import { StagePlan } from "../../protocol/plan.ts";
import { ErrorBody } from "../http/errors.ts";
import { Health, ModelDescription, PolicyDescription } from "../routes/catalog.ts";
import { Answer } from "../routes/generations.ts";
import { Body } from "../routes/generations-body.ts";
import { BranchBody, JobBody, RefineBody } from "../routes/jobs-body.ts";
import { NewTicket, Ticket } from "../routes/keys.ts";
import { Query } from "../routes/preview.ts";
import { WorkerList } from "../routes/workers.ts";

/** By the name that the document has for each. */
export const schemas = {
	GenerationRequest: Body,
	GenerationAnswer: Answer,
	JobRequest: JobBody,
	RefineRequest: RefineBody,
	BranchRequest: BranchBody,
	Job: JobResource,
	Jobs: JobList,
	WebhookMessage,
	PlanEvent,
	ScaleEvent: ScaleEvent.omit({ codes: true }),
	RevisionEvent,
	FinalEvent,
	ErrorEvent,
	StagePlan,
	Model: ModelDescription,
	Models: z.strictObject({ object: z.literal("list"), data: z.array(ModelDescription) }),
	Policies: z.strictObject({ object: z.literal("list"), data: z.array(PolicyDescription) }),
	Health,
	KeyRequest: NewKey,
	Key: KeyDescription,
	MintedKey,
	Keys: KeyList,
	TicketRequest: NewTicket,
	Ticket,
	Workers: WorkerList,
	Error: ErrorBody,
} satisfies Record<string, z.ZodType>;
export type SchemaName = keyof typeof schemas;

export interface Content {
	description: string;
	/** JSON of this schema; else a media type. */
	json?: SchemaName;
	type?: string;
}
export type SecurityName = "key" | "ticket" | "admin" | "worker";

export interface Operation {
	method: "get" | "post" | "delete";
	/** Parameters as OpenAPI writes them. */
	path: string;
	summary: string;
	description?: string;
	parameters?: Readonly<Record<string, string>>;
	query?: z.ZodObject;
	/** Headers it looks at, and what they do. */
	headers?: Readonly<Record<string, string>>;
	body?: SchemaName;
	/** Whether none at all will do. */
	bodyOptional?: true;
	answers: Readonly<Record<number, Content>>;
	/** What opens it: any of these, by their names in the document. Left out: it is open. */
	needs?: readonly SecurityName[];
}

const json = (name: SchemaName, description: string): Content => ({ description, json: name });
const wrong = json("Error", "A value is wrong; `param` names it.");
const busy = json(
	"Error",
	"No worker, a full queue, or prompts cannot be checked; `retry-after` says when to come again.",
);
const noEntry = json("Error", "No key, a wrong one, or one that is not good any more.");
const tooMuch = json("Error", "More than the key may have; `retry-after` says when to come again.");
/** Of all routes that look at who asks. */
const admission = { 401: noEntry, 403: json("Error", "The key lacks the scope."), 429: tooMuch };
const noJob = json("Error", "No such job is kept.");
const once = {
	"Idempotency-Key":
		"1 to 255 visible characters: the same request under the same key is done once, and answered alike.",
};
/** Of routes that read a body. */
const ofBody = {
	408: json("Error", "The body did not come."),
	413: json("Error", "The body is too large."),
	415: json("Error", "The body is not JSON, or packed in a way that is not read here."),
};
/** Of event streams: how a reader goes on. */
const resumed = { "Last-Event-ID": "`<job>.<n>`: goes on after that event." };
const lastEventId = z
	.string()
	.optional()
	.describe("As Last-Event-ID, for who can set no header; a job's id alone reads it from its beginning.");
const job = { job: "As its plan event, or the answer that made it, names it." };
const created = {
	201: json("Jobs", "They are queued; `location` is the first one's address."),
	400: wrong,
	409: json("Error", "The request with this Idempotency-Key is still being answered."),
	...ofBody,
	422: json("Error", "The Idempotency-Key was used for another request."),
	503: busy,
};
const unknownModel = json("Error", "No such model is offered.");

export const operations: readonly Operation[] = [
	{
		method: "post",
		path: "/v1/images/generations",
		summary: "Pictures, whole or as a stream of partial images, in OpenAI's shape",
		description:
			"With `stream` the answer is a stream of `image_generation.partial_image` and `image_generation.completed` " +
			"events. What is done otherwise than it was asked is said in a `warning` header.",
		body: "GenerationRequest",
		needs: ["key"],
		answers: {
			...admission,
			200: json("GenerationAnswer", "The pictures, or with `stream` text/event-stream."),
			400: wrong,
			404: unknownModel,
			...ofBody,
			502: json("Error", "Workers were lost too often."),
			503: busy,
			504: json("Error", "The picture was not finished by its deadline."),
		},
	},
	{
		method: "get",
		path: "/v1/images/preview",
		summary: "A picture scale by scale, as server-sent events",
		description:
			"Events are `plan` (PlanEvent), `scale` (ScaleEvent), `revision` (RevisionEvent), `final` (FinalEvent) and " +
			"`error` (ErrorEvent), with which it ends. With Last-Event-ID or lastEventId the rest is not looked at.",
		headers: resumed,
		query: Query.extend({ lastEventId }),
		needs: ["key", "ticket"],
		answers: {
			...admission,
			200: { description: "The events.", type: "text/event-stream" },
			204: { description: "The job has ended and all of it was seen." },
			400: wrong,
			404: json("Error", "No such model is offered, or no such job is kept."),
			503: busy,
		},
	},
	{
		method: "post",
		path: "/v1/jobs",
		summary: "Pictures to be made, read or not: up to nine jobs",
		description:
			"The other routes are views of the same jobs. With `webhook` the end of each is told to an address of yours: a " +
			"WebhookMessage, signed as standardwebhooks.com has it, sent again until it is taken.",
		headers: once,
		body: "JobRequest",
		needs: ["key"],
		answers: {
			...admission,
			...created,
			404: unknownModel,
		},
	},
	{
		method: "get",
		path: "/v1/jobs/{job}",
		summary: "How it stands with a job: state, place in the queue, estimate, links",
		parameters: job,
		needs: ["key", "ticket"],
		answers: { ...admission, 200: json("Job", "The job."), 404: noJob },
	},
	{
		method: "get",
		path: "/v1/jobs/{job}/events",
		summary: "The events of a job from its beginning, then as they come",
		description: "As the preview route's; also of a job that has ended, for as long as it is kept.",
		parameters: job,
		headers: resumed,
		query: z.object({ lastEventId }),
		needs: ["key", "ticket"],
		answers: {
			...admission,
			200: { description: "The events.", type: "text/event-stream" },
			204: { description: "The job has ended and all of it was seen." },
			404: noJob,
		},
	},
	{
		method: "get",
		path: "/v1/jobs/{job}/image",
		summary: "A finished picture, by the address that was given with it",
		parameters: job,
		query: z.object({
			expires: z.string().describe("Seconds since 1970 at which the address ends."),
			signature: z.string().describe("Of job and end."),
		}),
		answers: {
			200: { description: "The picture.", type: "image/*" },
			304: { description: "It is what If-None-Match names." },
			403: json("Error", "The address is not complete, or its hour is over."),
			404: json("Error", "The picture is not kept any more."),
		},
	},
	{
		method: "delete",
		path: "/v1/jobs/{job}",
		summary: "Stops a picture that nobody wants any more; deletes a job that has ended, prompt and pictures",
		parameters: job,
		needs: ["key"],
		answers: {
			...admission,
			204: { description: "It is stopped, or deleted." },
			404: json("Error", "No such job can be."),
		},
	},
	{
		method: "post",
		path: "/v1/jobs/{job}/refine",
		summary: "Finishes a job's picture by another plan, from its own first scales, which are not made again",
		parameters: job,
		headers: once,
		body: "RefineRequest",
		bodyOptional: true,
		needs: ["key"],
		answers: { ...admission, ...created, 404: noJob },
	},
	{
		method: "post",
		path: "/v1/jobs/{job}/branch",
		summary: "Up to nine siblings of a job's picture, which share its first scales",
		parameters: job,
		headers: once,
		body: "BranchRequest",
		needs: ["key"],
		answers: { ...admission, ...created, 404: noJob },
	},
	{
		method: "get",
		path: "/v1/models",
		summary: "Models of the connected workers, the default one first",
		needs: ["key", "ticket"],
		answers: { ...admission, 200: json("Models", "The models.") },
	},
	{
		method: "get",
		path: "/v1/models/{model}",
		summary: "One model: sizes, schedules, vocabulary, and what policies were measured to cost and gain",
		parameters: { model: "Its name or an alias." },
		needs: ["key", "ticket"],
		answers: { ...admission, 200: json("Model", "The model."), 404: unknownModel },
	},
	{
		method: "get",
		path: "/v1/models/{model}/files/{file}",
		summary: "A file of a published model, for GPU workers, and for browsers where it is public",
		description: "Of a model that PUBLIC_MODELS names no token is needed.",
		parameters: { model: "Its name or digest.", file: "manifest.json, policies.json, or a file that it lists." },
		needs: ["worker"],
		answers: {
			200: { description: "The file.", type: "application/octet-stream" },
			206: { description: "The range that was asked for.", type: "application/octet-stream" },
			304: { description: "It is what If-None-Match names." },
			401: json("Error", "The token is missing, wrong, or for another model."),
			404: json("Error", "No such model or file is published."),
			416: json("Error", "The file has no such range."),
			500: json("Error", "What is published is damaged."),
			503: json("Error", "This edge has no bucket of models."),
		},
	},
	{
		method: "get",
		path: "/v1/policies",
		summary: "Policies, and the schedules that each can plan by model",
		needs: ["key", "ticket"],
		answers: { ...admission, 200: json("Policies", "The policies.") },
	},
	{
		method: "post",
		path: "/v1/tickets",
		summary: "A ticket, for an EventSource, which cannot send a key",
		description:
			"Sent as `?ticket=` in place of a key, by GET and HEAD. Good for TICKET_SECONDS (120) and for one scope.",
		body: "TicketRequest",
		needs: ["key"],
		answers: { ...admission, 201: json("Ticket", "The ticket."), 400: wrong, ...ofBody },
	},
	{
		method: "post",
		path: "/v1/admin/keys",
		summary: "A new API key",
		body: "KeyRequest",
		needs: ["admin"],
		answers: { ...admission, 201: json("MintedKey", "The key, shown this once."), 400: wrong, ...ofBody },
	},
	{
		method: "get",
		path: "/v1/admin/keys",
		summary: "All keys, without what is secret of them",
		needs: ["admin"],
		answers: { ...admission, 200: json("Keys", "The keys, the oldest first.") },
	},
	{
		method: "delete",
		path: "/v1/admin/keys/{key}",
		summary: "Revokes a key: from now on it opens nothing",
		parameters: { key: "Its id." },
		needs: ["admin"],
		answers: { ...admission, 200: json("Key", "The key."), 404: json("Error", "There is no such key.") },
	},
	{
		method: "get",
		path: "/v1/admin/workers",
		summary: "GPU workers by name, and names that were revoked",
		needs: ["admin"],
		answers: { ...admission, 200: json("Workers", "The workers.") },
	},
	{
		method: "delete",
		path: "/v1/admin/workers/{worker}",
		summary: "Revokes a worker: it is dropped, and not let in any more",
		parameters: { worker: "Its name." },
		needs: ["admin"],
		answers: { ...admission, 204: { description: "It is revoked." }, 400: wrong },
	},
	{
		method: "post",
		path: "/v1/admin/workers/{worker}",
		summary: "Lets a worker in that was revoked",
		parameters: { worker: "Its name." },
		needs: ["admin"],
		answers: { ...admission, 204: { description: "It may come again." }, 400: wrong },
	},
	{
		method: "get",
		path: "/healthz",
		summary: "Workers, their adapters, models and queue",
		answers: { 200: json("Health", "There is a worker."), 503: json("Health", "There is none.") },
	},
	{
		method: "get",
		path: "/metrics",
		summary: "Queue, workers and times, for Prometheus",
		needs: ["admin"],
		answers: { ...admission, 200: { description: "Prometheus's text format.", type: "text/plain" } },
	},
	{
		method: "get",
		path: "/openapi.json",
		summary: "This document",
		answers: { 200: { description: "OpenAPI 3.1.", type: "application/json" } },
	},
	{
		method: "get",
		path: "/docs",
		summary: "This document, to be read",
		answers: { 200: { description: "A page.", type: "text/html" } },
	},
];
