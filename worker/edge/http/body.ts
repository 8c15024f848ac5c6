/** Request bodies, read under limits of size and time before anything looks at them. */
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
	const tooLarge = () => new ApiError(413, "request_too_large", `The body is larger than ${limit} bytes. Send less.`);
	const tooLate = () =>
		new ApiError(408, "request_timeout", `The body did not come within ${seconds} seconds. Send the request again.`);
	// The declared length saves reading; the count below holds when it is absent, wrong, or of what is packed.
	if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLarge();
	const reader = unpacked(request)?.getReader();
	if (!reader) return "";
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
				throw late ? tooLate() : broken();
			});
			if (late) throw tooLate();
			if (done) return text + decoder.decode();
			size += value.byteLength;
			if (size > limit) throw tooLarge();
			text += decoder.decode(value, { stream: true });
		}
	} catch (error) {
		reader.cancel().catch(() => {});
		throw error instanceof ApiError ? error : notUtf8();
	} finally {
		clearTimeout(timer);
	}
}

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
