/** Request bodies, read under limits of size and time before anything looks at them. */
import type { MiddlewareHandler } from "hono";
import { MAX_REQUEST_BYTES, MAX_UNREAD_BYTES } from "../../protocol/limits.ts";
import { type App, settingsOf } from "../settings.ts";
import { ApiError } from "./errors.ts";

/** Content codings that are undone here, by the name that the platform has for them. */
const CODINGS: Readonly<Record<string, CompressionFormat>> = { gzip: "gzip", "x-gzip": "gzip", deflate: "deflate" };

/**
 * The parsed JSON body. Refuses another content type or coding (415), more than `limit` bytes, packed or not (413), one
 * that has not come within `seconds` (408), text that is not UTF-8 and broken JSON (400).
 */
export async function readJson(request: Request, limit: number, seconds: number): Promise<unknown> {
	requireJson(request.headers.get("content-type") ?? "");
	const text = await readText(request, limit, seconds);
	try {
		return JSON.parse(text);
	} catch {
		throw new ApiError(
			400,
			"invalid_json",
			"The body is not valid JSON. Check quotes, commas and braces, and that it was sent whole.",
		);
	}
}

function requireJson(contentType: string): void {
	const [type, ...parameters] = contentType.split(";").map((part) => part.trim().toLowerCase());
	const charset = parameters.find((parameter) => parameter.startsWith("charset="))?.slice("charset=".length);
	const utf8 = charset === undefined || /^"?utf-?8"?$/.test(charset);
	if (type === "application/json" && utf8) return;
	throw new ApiError(
		415,
		"unsupported_media_type",
		`The body must be JSON in UTF-8 with "Content-Type: application/json"; this request has ` +
			`${contentType ? `"${contentType.slice(0, 64)}"` : "none"}.`,
	);
}

async function readText(request: Request, limit: number, seconds: number): Promise<string> {
	// The declared length saves reading; the count below holds when it is absent, wrong, or of what is packed.
	if (declaredBytes(request) > limit) throw tooLarge(limit);
	const stream = unpacked(request);
	if (!stream) return "";
	const reader = stream.getReader();
	let late = false;
	const timer = setTimeout(() => {
		late = true;
		reader.cancel().catch(() => {});
	}, seconds * 1000);
	const decoder = new TextDecoder("utf-8", { fatal: true });
	let text = "";
	try {
		for (let size = 0; ; ) {
			const { done, value } = await reader.read().catch(() => {
				throw late ? tooLate(seconds) : broken();
			});
			if (late) throw tooLate(seconds);
			if (done) return text + decoder.decode();
			size += value.byteLength;
			if (size > limit) throw tooLarge(limit);
			text += decoder.decode(value, { stream: true });
		}
	} catch (error) {
		// Or much would be unpacked that nobody reads.
		if (stream !== request.body) reader.cancel().catch(() => {});
		throw error instanceof ApiError ? error : notUtf8();
	} finally {
		clearTimeout(timer);
		// What is left is read before the answer goes out.
		reader.releaseLock();
	}
}

const declaredBytes = ({ headers }: Request): number => Number(headers.get("content-length") ?? 0);

/** A body of which nothing comes for so long is not waited for where nobody wants it. */
const UNREAD_MS = 1000;

/**
 * Answers only when the request's body is read, whoever answers. A server that answers before closes the connection on
 * what is still coming, and the caller's system then often throws the answer away with it. Gives up where more comes
 * than any client sends by mistake, nothing for a while, or too slowly; what is as short as a request may be, the
 * runtime reads.
 */
export const readWhole: MiddlewareHandler<App> = async (c, next) => {
	await next();
	const { body, headers } = c.req.raw;
	if (body === null || body.locked) return;
	if (headers.has("content-length") && declaredBytes(c.req.raw) <= MAX_REQUEST_BYTES) return;
	const reader = body.getReader();
	const until = Date.now() + 1000 * settingsOf(c.env).BODY_SECONDS;
	let timer: ReturnType<typeof setTimeout> | undefined;
	const giveUp = () => reader.cancel().catch(() => {});
	try {
		for (let size = 0; size <= MAX_UNREAD_BYTES && Date.now() < until; ) {
			timer = setTimeout(giveUp, UNREAD_MS);
			const { done, value } = await reader.read();
			clearTimeout(timer);
			if (done) return;
			size += value.byteLength;
		}
		giveUp();
	} catch {
		clearTimeout(timer);
	}
};

/** The body without its content coding. */
function unpacked(request: Request): ReadableStream<Uint8Array> | null {
	const coding = request.headers.get("content-encoding")?.trim().toLowerCase() || "identity";
	if (coding === "identity" || request.body === null) return request.body;
	if (!Object.hasOwn(CODINGS, coding))
		throw new ApiError(
			415,
			"unsupported_content_encoding",
			`A body packed as "${coding.slice(0, 64)}" is not read here. Send it as it is, or with gzip or deflate.`,
			{ headers: { "accept-encoding": "gzip, deflate, identity" } },
		);
	return request.body.pipeThrough(new DecompressionStream(CODINGS[coding]) as ReadableWritablePair<Uint8Array>);
}

function tooLarge(limit: number): ApiError {
	return new ApiError(413, "request_too_large", `The body is larger than ${limit} bytes. Send less.`);
}

function tooLate(seconds: number): ApiError {
	return new ApiError(
		408,
		"request_timeout",
		`The body did not come within ${seconds} seconds. Send the request again.`,
	);
}

function broken(): ApiError {
	return new ApiError(
		400,
		"invalid_body",
		"The body broke off, or is not packed as its Content-Encoding says. Send the request again.",
	);
}

export function notUtf8(param?: string): ApiError {
	return new ApiError(
		400,
		"invalid_encoding",
		`${param === undefined ? "The body" : `${param}:`} is not UTF-8. Encode the text as UTF-8, not Latin-1 or another.`,
		{ param },
	);
}
