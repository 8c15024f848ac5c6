/** Request bodies, read under limits of size and time before anything looks at them. */
import type { MiddlewareHandler } from "hono";
import { MAX_UNREAD_BYTES } from "../../protocol/limits.ts";
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
	const coding = codingOf(request);
	// The declared length saves reading; the count holds when it is absent or wrong.
	if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLarge(limit);
	const bytes = await readBytes(request.body, limit, seconds);
	if (coding === undefined) return utf8(bytes);
	const unpacking = new Blob(bytes).stream().pipeThrough(new DecompressionStream(coding));
	return utf8(await readBytes(unpacking, limit, seconds));
}

/** Leaves what is over the limit unread. */
async function readBytes(
	stream: ReadableStream<Uint8Array<ArrayBuffer>> | null,
	limit: number,
	seconds: number,
): Promise<Uint8Array<ArrayBuffer>[]> {
	const reader = stream?.getReader();
	if (!reader) return [];
	let late = false;
	const timer = setTimeout(() => {
		late = true;
		reader.cancel().catch(() => {});
	}, seconds * 1000);
	const bytes = [];
	try {
		for (let size = 0; ; ) {
			const { done, value } = await reader.read().catch(() => {
				throw late ? tooLate(seconds) : broken();
			});
			if (late) throw tooLate(seconds);
			if (done) return bytes;
			size += value.byteLength;
			if (size > limit) throw tooLarge(limit);
			bytes.push(value);
		}
	} finally {
		clearTimeout(timer);
		reader.releaseLock();
	}
}

/**
 * Answers only when the request's body is read, whoever answers. A server that answers before closes the connection on
 * what is still coming, and the caller's system then often throws the answer away with it. Gives up where more comes
 * than any client sends by mistake, or for longer than BODY_SECONDS.
 */
export const readWhole: MiddlewareHandler<App> = async (c, next) => {
	await next();
	const { body } = c.req.raw;
	if (body === null || body.locked) return;
	const { BODY_SECONDS } = settingsOf(c.env);
	const rest = body.pipeTo(upTo(MAX_UNREAD_BYTES), { signal: AbortSignal.timeout(BODY_SECONDS * 1000) });
	await rest.catch(() => {});
};

/** Takes so many bytes, and keeps none. */
function upTo(limit: number): WritableStream<Uint8Array> {
	let size = 0;
	return new WritableStream({
		write({ byteLength }) {
			size += byteLength;
			if (size > limit) throw new RangeError(`more than ${limit} bytes`);
		},
	});
}

/** Of the body; undefined: it comes as it is. */
function codingOf(request: Request): CompressionFormat | undefined {
	const coding = request.headers.get("content-encoding")?.trim().toLowerCase() || "identity";
	if (coding === "identity" || request.body === null) return undefined;
	if (Object.hasOwn(CODINGS, coding)) return CODINGS[coding];
	throw new ApiError(
		415,
		"unsupported_content_encoding",
		`A body packed as "${coding.slice(0, 64)}" is not read here. Send it as it is, or with gzip or deflate.`,
		{ headers: { "accept-encoding": "gzip, deflate, identity" } },
	);
}

function utf8(bytes: readonly Uint8Array[]): string {
	const decoder = new TextDecoder("utf-8", { fatal: true });
	try {
		return bytes.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
	} catch {
		throw notUtf8();
	}
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
