/** Everything that can go wrong, as OpenAI's error object. */

import { HTTPException } from "hono/http-exception";
import { z } from "zod";
import { logError } from "../log.ts";

/** OpenAI's words, and one of ours for GPU workers. */
const ErrorType = z.enum([
	"invalid_request_error",
	"authentication_error",
	"server_error",
	"requests",
	"insufficient_quota",
	"image_generation_user_error",
]);
export type ErrorType = z.infer<typeof ErrorType>;

export const ErrorBody = z.strictObject({
	error: z.strictObject({
		message: z.string().describe("What was wrong, and what to do next."),
		type: ErrorType,
		param: z.string().nullable().describe("The field that is wrong."),
		code: z.string(),
	}),
});
export type ErrorBody = z.infer<typeof ErrorBody>;

interface Details {
	param?: string;
	type?: ErrorType;
	headers?: Record<string, string>;
}

/** An error whose message is fit for the person who asked. */
export class ApiError extends Error {
	override name = "ApiError";
	readonly status: number;
	readonly code: string;
	readonly details: Details;

	constructor(status: number, code: string, message: string, details: Details = {}) {
		super(message);
		this.status = status;
		this.code = code;
		this.details = details;
	}

	get body(): ErrorBody {
		const { param = null, type = this.status >= 500 ? "server_error" : "invalid_request_error" } = this.details;
		return { error: { message: this.message, type, param, code: this.code } };
	}

	toResponse(): Response {
		return Response.json(this.body, {
			status: this.status,
			headers: { "cache-control": "no-store", ...this.details.headers },
		});
	}
}

/** A 400 that names the field. */
export function invalid(param: string, message: string, code = "invalid_value"): ApiError {
	return new ApiError(400, code, message, { param });
}

/** Not now, but soon: the openai client and browsers come back by themselves. */
export function unavailable(code: string, message: string, retryAfterSeconds: number): ApiError {
	return new ApiError(503, code, message, {
		headers: { "retry-after": String(retryAfterSeconds), "x-should-retry": "true" },
	});
}

/** The first thing zod found wrong, as a 400 that names the field. */
export function invalidInput(error: z.ZodError): ApiError {
	const issue = error.issues[0];
	if (issue.code === "unrecognized_keys") {
		const key = issue.keys[0].slice(0, 64);
		return invalid(
			key,
			`Unknown parameter "${key}". docs/api.md lists what is taken; remove it and send the request again.`,
			"unknown_parameter",
		);
	}
	const param = issue.path.join(".");
	const missing = issue.code === "invalid_type" && issue.input === undefined;
	return new ApiError(
		400,
		missing ? "missing_required_parameter" : "invalid_value",
		param ? `${param}: ${issue.message}` : issue.message,
		{ param: param || undefined },
	);
}

/** What a job's error event is over HTTP. A request's own fault stays one, though only a worker could see it. */
const answerOfJobError: Readonly<Record<string, { status: number; param?: string }>> = {
	invalid_prompt: { status: 400, param: "prompt" },
	invalid_plan: { status: 400, param: "plan" },
	deadline: { status: 504 },
	worker_lost: { status: 502 },
	no_workers: { status: 503 },
	not_queued: { status: 503 },
};

/**
 * A job's error event, for a caller who waits for the whole picture. Not worth an automatic second try: the job had its
 * attempts.
 */
export function jobError({ code, message }: { code: string; message: string }): ApiError {
	const { status, param } = Object.hasOwn(answerOfJobError, code) ? answerOfJobError[code] : { status: 500 };
	return new ApiError(status, code, message, { param, headers: { "x-should-retry": "false" } });
}

/**
 * Whatever was thrown, as an ApiError. Anything unforeseen goes to the log and leaves only its request id to the
 * caller.
 */
export function asApiError(error: unknown, requestId: string): ApiError {
	if (error instanceof ApiError) return error;
	if (error instanceof HTTPException) return new ApiError(error.status, "http_error", error.message);
	const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
	logError("unexpected error", { request: requestId, message, stack });
	return new ApiError(
		500,
		"internal_error",
		`Something went wrong on our side. If it happens again, report request id ${requestId}.`,
		{
			headers: { "x-should-retry": "false" },
		},
	);
}
