/** Bearer tokens of one (job, attempt), and secrets compared in constant time. */

const encoder = new TextEncoder();
const hmac = { name: "HMAC", hash: "SHA-256" };
const macLength = 43; // 32 bytes in unpadded base64url

/** `<attempt>.<mac>`, good for deliveries to this job as this attempt. */
export async function signToken(secret: string, job: string, attempt: number): Promise<string> {
	const mac = await crypto.subtle.sign(hmac, await importKey(encoder.encode(secret)), message(job, attempt));
	return `${attempt}.${toBase64url(new Uint8Array(mac))}`;
}

/** The attempt the token was signed for, or null when it was not signed for this job with this secret. */
export async function verifyToken(secret: string, job: string, token: string): Promise<number | null> {
	const match = /^([1-9]\d{0,8})\.([\w-]+)$/.exec(token);
	if (!match || match[2].length !== macLength) return null;
	const attempt = Number(match[1]);
	const mac = fromBase64url(match[2]);
	// subtle.verify compares in constant time.
	return (await crypto.subtle.verify(hmac, await importKey(encoder.encode(secret)), mac, message(job, attempt)))
		? attempt
		: null;
}

/** Whether two secrets are the same, in a time that tells nothing of where they differ. */
export async function sameSecret(a: string, b: string): Promise<boolean> {
	const key = await importKey(crypto.getRandomValues(new Uint8Array(32)));
	return crypto.subtle.verify(hmac, key, await crypto.subtle.sign(hmac, key, encoder.encode(a)), encoder.encode(b));
}

/** The bearer credential of a request, or "". */
export function bearer(request: Request): string {
	return /^Bearer ([\x21-\x7e]{1,1024})$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
}

function message(job: string, attempt: number): Uint8Array<ArrayBuffer> {
	return encoder.encode(`firstlight delivery 1\n${job}\n${attempt}`);
}

function importKey(raw: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
	return crypto.subtle.importKey("raw", raw, hmac, false, ["sign", "verify"]);
}

function toBase64url(bytes: Uint8Array): string {
	return btoa(String.fromCharCode(...bytes))
		.replaceAll("+", "-")
		.replaceAll("/", "_")
		.replaceAll("=", "");
}

function fromBase64url(text: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}
