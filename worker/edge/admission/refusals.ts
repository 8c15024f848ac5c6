/** Who is not let in, in OpenAI's words, so that its clients know what to do. */
import type { Limits } from "../../protocol/api-key.ts";
import { ApiError } from "../http/errors.ts";
import type { Entered } from "../objects.ts";
import { limitHeaders } from "./headers.ts";

const CHALLENGE = { "www-authenticate": 'Bearer realm="firstlight"', "x-should-retry": "false" };

export const noKey = (): ApiError =>
	new ApiError(
		401,
		"missing_api_key",
		"No API key was given. Send yours as `Authorization: Bearer fl_...`; whoever runs this edge mints them.",
		{ headers: CHALLENGE },
	);

/** Mistyped, invented, revoked or expired: which of them is nobody's business. */
export const wrongKey = (): ApiError =>
	new ApiError(
		401,
		"invalid_api_key",
		"The API key or ticket is wrong, or not good any more. Check it, or ask whoever runs this edge for another.",
		{ headers: CHALLENGE },
	);

export const forbidden = (scope: string): ApiError =>
	new ApiError(403, "insufficient_permissions", `This key may not do that: it lacks the scope "${scope}".`, {
		headers: { "x-should-retry": "false" },
	});

/** The admin's secret is nobody's account, and a ticket is somebody's. */
export const noTicket = (): ApiError =>
	new ApiError(
		403,
		"insufficient_permissions",
		"A ticket stands for a key, and ADMIN_SECRET is none: mint a key with POST /v1/admin/keys, and ask with that.",
		{ headers: { "x-should-retry": "false" } },
	);

/** `wait`: milliseconds. */
const after = (wait: number): string => String(Math.max(1, Math.ceil(wait / 1000)));

export function tooMany(entered: Extract<Entered, { refused: "rate" | "quota" }>): ApiError {
	const { refused, wait, limits, left } = entered;
	const headers = { ...limitHeaders(limits, left), "retry-after": after(wait) };
	if (refused === "quota") return usedUp(limits, headers);
	return new ApiError(
		429,
		"rate_limit_exceeded",
		`More than ${limits.per_minute} requests a minute. Try again in ${after(wait)} s.`,
		{ type: "requests", headers },
	);
}

/** More pictures in one request than the day has left. `wait`: milliseconds until the next. */
export const picturesUsedUp = (limits: Limits, wait: number): ApiError =>
	usedUp(limits, { "retry-after": after(wait) });

function usedUp({ per_day }: Limits, headers: Record<string, string>): ApiError {
	return new ApiError(429, "insufficient_quota", `This is more than the ${per_day} pictures a day that are allowed.`, {
		type: "insufficient_quota",
		// Hours are too long for a client to wait by itself.
		headers: { ...headers, "x-should-retry": "false" },
	});
}

/** More pictures in one request than may be made at once, however long it waits. */
export const neverAtOnce = (concurrent: number, pictures: number): ApiError =>
	new ApiError(
		400,
		"too_many_pictures",
		`These are ${pictures} pictures; at most ${concurrent} may be made at once here. Ask for fewer at a time.`,
	);

/** `wait`: milliseconds after which one of them is done, as measured. */
export const tooManyAtOnce = (concurrent: number, wait: number): ApiError =>
	new ApiError(
		429,
		"rate_limit_exceeded",
		`More than ${concurrent} pictures at once. Wait for one of yours to be finished.`,
		{ type: "requests", headers: { "retry-after": after(wait), "x-should-retry": "true" } },
	);
