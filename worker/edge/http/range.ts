/**
 * Which part of a file a request wants: Range, If-Range and If-None-Match of RFC 9110, for files with a strong ETag.
 */

export interface Range {
	offset: number;
	length: number;
}

/**
 * The part of `size` bytes that is asked for; null for the whole file: no Range, one that we do not know or serve in
 * one piece, or an If-Range that names another file. `unsatisfiable` where it begins behind the end.
 */
export function rangeOf(headers: Headers, size: number, etag: string): Range | "unsatisfiable" | null {
	const match = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(headers.get("range")?.trim() ?? "");
	if (!match || (match[1] === "" && match[2] === "")) return null;
	const ifRange = headers.get("if-range");
	// A date, or a weak ETag, does not say that the bytes are the same.
	if (ifRange !== null && ifRange !== etag) return null;
	if (match[1] === "") {
		const length = Math.min(size, Number(match[2]));
		return length === 0 ? "unsatisfiable" : { offset: size - length, length };
	}
	const first = Number(match[1]);
	const last = match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
	if (match[2] !== "" && Number(match[2]) < first) return null;
	return first >= size ? "unsatisfiable" : { offset: first, length: last - first + 1 };
}

/** Whether the caller has the file already. */
export function notModified(headers: Headers, etag: string): boolean {
	const known = headers.get("if-none-match");
	return (
		known !== null && (known.trim() === "*" || known.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag))
	);
}
