/** Pictures' bytes, as events have them and as they are. */

/** Throws what `atob` throws for text that is no base64. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
	const text = atob(base64);
	const bytes = new Uint8Array(text.length);
	for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
	return bytes;
}

/** More arguments of one call than this are too many. */
const CHUNK = 32_768;

export function base64Of(bytes: Uint8Array): string {
	const chunks: string[] = [];
	for (let i = 0; i < bytes.length; i += CHUNK) chunks.push(String.fromCharCode(...bytes.subarray(i, i + CHUNK)));
	return btoa(chunks.join(""));
}
