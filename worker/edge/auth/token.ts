/** What is signed with a secret, such as bearer tokens of one (job, attempt); and secrets compared in constant time. */

const encoder = new TextEncoder();
const hmac = { name: "HMAC", hash: "SHA-256" };
const macLength = 43; // 32 bytes in unpadded base64url

/** `<attempt>.<mac>`, good for deliveries to this job as this attempt. */
export async function signToken(secret: string, job: string, attempt: number): Promise<string> {
	return `${attempt}.${await signText(secret, message(job, attempt))}`;
}

/** The attempt the token was signed for, or null when it was not signed for this job with this secret. */
export async function verifyToken(secret: string, job: string, token: string): Promise<number | null> {
	const match = /^([1-9]\d{0,8})\.([\w-]+)$/.exec(token);
	if (!match) return null;
	const attempt = Number(match[1]);
	return (await verifyText(secret, message(job, attempt), match[2])) ? attempt : null;
}

/** The text's HMAC-SHA-256 in base64url. The text begins with what it is for, so that none passes for another kind. */
export async function signText(secret: string, text: string): Promise<string> {
	const mac = await crypto.subtle.sign(hmac, await importKey(encoder.encode(secret)), encoder.encode(text));
	return toBase64url(new Uint8Array(mac));
}

/** Whether `mac` is what `signText` gives. */
export async function verifyText(secret: string, text: string, mac: string): Promise<boolean> {
	if (mac.length !== macLength || !/^[\w-]+$/.test(mac)) return false;
	// subtle.verify compares in constant time.
	return crypto.subtle.verify(hmac, await importKey(encoder.encode(secret)), fromBase64url(mac), encoder.encode(text));
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

const message = (job: string, attempt: number): string => `firstlight delivery 1\n${job}\n${attempt}`;

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
