/** Request bodies, read under a limit before anything looks at them. */
import { ApiError } from "./errors.ts";

/** The parsed JSON body. Refuses another content type (415), more than `limit` bytes (413) and broken JSON (400). */
export async function readJson(request: Request, limit: number): Promise<unknown> {
	const type = request.headers.get("content-type")?.split(";")[0].trim().toLowerCase();
	if (type !== "application/json") {
		const other = type ? `"${type.slice(0, 64)}"` : "none";
		throw new ApiError(
			415,
			"unsupported_media_type",
			`The body must be JSON with "Content-Type: application/json"; this request has ${other}.`,
		);
	}
	const text = await readText(request, limit);
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

async function readText(request: Request, limit: number): Promise<string> {
	const tooLarge = () => new ApiError(413, "request_too_large", `The body is larger than ${limit} bytes. Send less.`);
	// The declared length saves reading; the count below holds when it is absent or wrong.
	if (Number(request.headers.get("content-length") ?? 0) > limit) throw tooLarge();
	const decoder = new TextDecoder();
	let text = "";
	let size = 0;
	const reader = request.body?.getReader();
	while (reader) {
		const { done, value } = await reader.read();
		if (done) break;
		size += value.byteLength;
		if (size > limit) {
			await reader.cancel();
			throw tooLarge();
		}
		text += decoder.decode(value, { stream: true });
	}
	return text + decoder.decode();
}
