/**
 * API keys as text: `fl_<id>_<random><checksum>`. The id names the key's record, the random part is its secret, and the
 * checksum tells a mistyped or invented key from a real one without asking anybody.
 */
import { z } from "zod";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_CHARS = 12;
/** 190 bits. */
const RANDOM_CHARS = 32;
const CHECKSUM_CHARS = 6;
const KEY = new RegExp(`^fl_(\\w{${ID_CHARS}})_(\\w{${RANDOM_CHARS}})(\\w{${CHECKSUM_CHARS}})$`);

/** What a key may do: make pictures and follow them, look at what there is, or look after keys, workers and metrics. */
export const Scope = z.enum(["generate", "read", "admin"]);
export type Scope = z.infer<typeof Scope>;

/** What one key may take. */
export const Limits = z.strictObject({
	per_minute: z.int().min(1).max(100_000).describe("Requests a minute; as many may come at once."),
	concurrent: z.int().min(1).max(10_000).describe("Pictures that wait or are being made at once."),
	per_day: z.int().min(1).max(10_000_000).describe("Pictures a day, by UTC."),
	weight: z.number().min(0.01).max(100).describe("Share of the workers against other keys, where they are short."),
});
export type Limits = z.infer<typeof Limits>;

export const DEFAULT_LIMITS: Limits = { per_minute: 60, concurrent: 8, per_day: 1000, weight: 1 };

/** What a key is minted with. */
export const NewKey = z.strictObject({
	name: z.string().trim().min(1, "is empty").max(64, "is longer than 64 characters").describe("Who it is for."),
	scopes: z
		.array(Scope, "must be a list of generate, read, admin")
		.min(1, "names no scope")
		.max(3)
		.default(["generate", "read"]),
	expires_in_days: z.int().min(1).max(3650).optional().describe("Left out: it does not expire."),
	limits: Limits.partial().default({}).describe("What is left out has a default."),
});
export type NewKey = z.infer<typeof NewKey>;

/** A key as its keeper sees it: neither its secret nor the hash of it. */
export const KeyDescription = z.strictObject({
	id: z.string(),
	name: z.string(),
	scopes: z.array(Scope),
	limits: Limits,
	created: z.int().describe("Seconds since 1970."),
	expires: z.int().nullable(),
	revoked: z.int().nullable(),
});
export type KeyDescription = z.infer<typeof KeyDescription>;
export const KeyList = z.strictObject({ object: z.literal("list"), data: z.array(KeyDescription) });
export const MintedKey = z.strictObject({
	...KeyDescription.shape,
	key: z.string().describe("The key itself, shown this once."),
});
export type MintedKey = z.infer<typeof MintedKey>;

/** A new key and its id. */
export function newKey(): { id: string; key: string } {
	const id = randomText(ID_CHARS);
	const body = `fl_${id}_${randomText(RANDOM_CHARS)}`;
	return { id, key: body + checksum(body) };
}

/** The id of a key; null for what is none. Needs no network. */
export function keyId(key: string): string | null {
	const match = KEY.exec(key);
	if (!match || /_/.test(match.slice(1).join(""))) return null;
	const body = key.slice(0, -CHECKSUM_CHARS);
	return checksum(body) === match[3] ? match[1] : null;
}

/** Whether the text is the id of a key, by its form. */
export const isKeyId = (text: string): boolean => new RegExp(`^[0-9A-Za-z]{${ID_CHARS}}$`).test(text);

/** What is kept of a key: its SHA-256 in hex. */
export async function keyHash(key: string): Promise<string> {
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key)));
	return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function randomText(length: number): string {
	let text = "";
	while (text.length < length)
		// The last few values of a byte would make some letters likelier.
		for (const byte of crypto.getRandomValues(new Uint8Array(length)))
			if (byte < 4 * ALPHABET.length && text.length < length) text += ALPHABET[byte % ALPHABET.length];
	return text;
}

/** CRC-32 (IEEE 802.3) of the text, in six letters. */
function checksum(text: string): string {
	let crc = 0xffff_ffff;
	for (const char of text) {
		crc ^= char.charCodeAt(0);
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0);
	}
	let rest = ~crc >>> 0;
	let letters = "";
	for (let i = 0; i < CHECKSUM_CHARS; i++) {
		letters = ALPHABET[rest % ALPHABET.length] + letters;
		rest = Math.floor(rest / ALPHABET.length);
	}
	return letters;
}
