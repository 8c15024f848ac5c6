/** Picture files as bytes: the settings that lie in their EXIF, and EXIF put into a file that a canvas wrote. */
import { fitsPrompt } from "../protocol/limits.ts";
import type { Trunk } from "../protocol/trunk.ts";

/** What a picture says of how it was made. */
export interface Settings {
	prompt?: string;
	class?: string;
	seed: string;
	policy?: string;
	model?: string;
	schedule?: string;
	/** Of a picture that took its first scales from another one: whose. */
	trunk?: Trunk<string>;
}

const EXIF_MARK = "Exif\0\0";

/** The settings in a picture's bytes; undefined for a picture that was not made here. */
export function settingsIn(bytes: Uint8Array<ArrayBuffer>): Settings | undefined {
	const exif = exifOf(bytes);
	const json = exif && /\{"(?:prompt|class)":.*\}/s.exec(latin1(exif))?.[0];
	if (!json) return undefined;
	try {
		return settingsOf(JSON.parse(json));
	} catch {
		return undefined;
	}
}

/** Only what has the form we write; a picture may come from anywhere. */
function settingsOf(json: Record<string, unknown>): Settings | undefined {
	const text = (value: unknown) => (typeof value === "string" && fitsPrompt(value) ? value : undefined);
	const seed = whole(json.seed);
	const label = whole(json.class);
	if (seed === undefined) return undefined;
	const plan = fieldsOf(json.plan);
	return {
		prompt: text(json.prompt),
		class: label === undefined ? undefined : String(label),
		seed: String(seed),
		policy: text(plan.policy),
		model: text(json.model),
		schedule: text(plan.schedule),
		trunk: trunkIn(json.trunk),
	};
}

function trunkIn(json: unknown): Trunk<string> | undefined {
	const { seed, scales, before } = fieldsOf(json);
	const [by, count] = [whole(seed), whole(scales)];
	return by !== undefined && count !== undefined
		? { seed: String(by), scales: count, before: trunkIn(before) }
		: undefined;
}

const fieldsOf = (json: unknown) => (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;

const whole = (value: unknown) =>
	typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff ? value : undefined;

/** The EXIF block (TIFF header and on) of a PNG, WebP or JPEG; undefined where there is none. */
export function exifOf(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	if (isPng(bytes)) {
		for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at))
			if (latin1(bytes.subarray(at + 4, at + 8)) === "eXIf") return bytes.subarray(at + 8, at + 8 + view.getUint32(at));
	} else if (isWebp(bytes)) {
		for (const { name, body } of webpChunks(bytes)) if (name === "EXIF") return withoutMark(body);
	} else if (isJpeg(bytes)) {
		for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
			const length = view.getUint16(at + 2);
			const body = bytes.subarray(at + 4, at + 2 + length);
			if (bytes[at + 1] === 0xe1 && latin1(body.subarray(0, 6)) === EXIF_MARK) return withoutMark(body);
			at += 2 + length;
		}
	}
	return undefined;
}

/** An EXIF block that says how a picture was made, as the workers write it: JSON as ImageDescription, in ASCII. */
export function exifOfSettings(settings: object): Uint8Array<ArrayBuffer> {
	const json = JSON.stringify(settings).replace(
		/[^\x20-\x7e]/g,
		(char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
	const text = ascii(`${json}\0`);
	// A TIFF header, one directory of one entry, and where the entry's text lies.
	const head = new DataView(new ArrayBuffer(26));
	head.setUint32(0, 0x4d4d_002a);
	head.setUint32(4, 8);
	head.setUint16(8, 1);
	head.setUint16(10, 0x010e);
	head.setUint16(12, 2);
	head.setUint32(14, text.length);
	head.setUint32(18, 26);
	return joined([new Uint8Array(head.buffer), text]);
}

/** The same file with this EXIF block, in place of none. */
export function withExif(bytes: Uint8Array<ArrayBuffer>, exif: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
	if (isPng(bytes)) {
		const end = 8 + 25;
		return joined([bytes.subarray(0, end), pngChunk("eXIf", exif), bytes.subarray(end)]);
	}
	if (isWebp(bytes)) {
		const { width, height, alpha } = webpSize(bytes);
		const pictures = webpChunks(bytes).filter(({ name }) => ["VP8 ", "VP8L", "ALPH"].includes(name));
		return webp([
			extended(width, height, { alpha, exif: true }),
			...pictures.map(({ name, body }) => chunk(name, body)),
			chunk("EXIF", exif),
		]);
	}
	if (isJpeg(bytes)) {
		const head = new Uint8Array([0xff, 0xe1, (exif.length + 8) >> 8, (exif.length + 8) & 255]);
		return joined([bytes.subarray(0, 2), head, ascii(EXIF_MARK), exif, bytes.subarray(2)]);
	}
	throw new RangeError("The picture is no PNG, WebP or JPEG.");
}

/**
 * Still WebP pictures of one size as an animated one that repeats for ever. Each frame stands so many milliseconds.
 * The container as in Google's WebP Container Specification (RFC 9649).
 */
export function animated(
	frames: readonly { bytes: Uint8Array<ArrayBuffer>; milliseconds: number }[],
	exif?: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
	const { width, height } = webpSize(frames[0].bytes);
	const alpha = frames.some(({ bytes }) => webpSize(bytes).alpha);
	return webp([
		extended(width, height, { animation: true, alpha, exif: exif !== undefined }),
		chunk("ANIM", new Uint8Array([255, 255, 255, 255, 0, 0])),
		...frames.map(({ bytes, milliseconds }) => {
			const head = new Uint8Array(16);
			put24(head, 6, width - 1);
			put24(head, 9, height - 1);
			put24(head, 12, Math.min(0xff_ffff, Math.max(1, Math.round(milliseconds))));
			// Frames are whole pictures: each takes the place of the one before.
			head[15] = 0b10;
			const pictures = webpChunks(bytes).filter(({ name }) => ["VP8 ", "VP8L", "ALPH"].includes(name));
			return chunk("ANMF", joined([head, ...pictures.map(({ name, body }) => chunk(name, body))]));
		}),
		...(exif ? [chunk("EXIF", exif)] : []),
	]);
}

const isPng = (bytes: Uint8Array) => latin1(bytes.subarray(1, 4)) === "PNG";
const isWebp = (bytes: Uint8Array) =>
	latin1(bytes.subarray(0, 4)) === "RIFF" && latin1(bytes.subarray(8, 12)) === "WEBP";
const isJpeg = (bytes: Uint8Array) => bytes[0] === 0xff && bytes[1] === 0xd8;

function webpChunks(bytes: Uint8Array<ArrayBuffer>): { name: string; body: Uint8Array<ArrayBuffer> }[] {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const chunks: { name: string; body: Uint8Array<ArrayBuffer> }[] = [];
	for (let at = 12; at + 8 <= bytes.length; ) {
		const length = view.getUint32(at + 4, true);
		chunks.push({ name: latin1(bytes.subarray(at, at + 4)), body: bytes.subarray(at + 8, at + 8 + length) });
		at += 8 + length + (length % 2);
	}
	return chunks;
}

/** Pixels of a still WebP, from whichever of its three headers it has. */
function webpSize(bytes: Uint8Array<ArrayBuffer>): { width: number; height: number; alpha: boolean } {
	for (const { name, body } of webpChunks(bytes)) {
		const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
		if (name === "VP8X")
			return { width: 1 + get24(body, 4), height: 1 + get24(body, 7), alpha: (body[0] & 0x10) !== 0 };
		if (name === "VP8 ")
			return { width: view.getUint16(6, true) & 0x3fff, height: view.getUint16(8, true) & 0x3fff, alpha: false };
		if (name === "VP8L") {
			const bits = view.getUint32(1, true);
			return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff), alpha: ((bits >>> 28) & 1) === 1 };
		}
	}
	throw new RangeError("The picture is no WebP.");
}

function extended(
	width: number,
	height: number,
	{ animation = false, alpha = false, exif = false },
): Uint8Array<ArrayBuffer> {
	const body = new Uint8Array(10);
	body[0] = (animation ? 0x02 : 0) | (exif ? 0x08 : 0) | (alpha ? 0x10 : 0);
	put24(body, 4, width - 1);
	put24(body, 7, height - 1);
	return chunk("VP8X", body);
}

function webp(chunks: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
	return chunk("RIFF", joined([ascii("WEBP"), ...chunks]));
}

function chunk(name: string, body: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
	const length = new Uint8Array(4);
	new DataView(length.buffer).setUint32(0, body.length, true);
	return joined([ascii(name), length, body, new Uint8Array(body.length % 2)]);
}

function pngChunk(name: string, body: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
	const named = joined([ascii(name), body]);
	const numbers = new DataView(new ArrayBuffer(8));
	numbers.setUint32(0, body.length);
	numbers.setUint32(4, crc32(named));
	return joined([new Uint8Array(numbers.buffer, 0, 4), named, new Uint8Array(numbers.buffer, 4, 4)]);
}

function crc32(bytes: Uint8Array): number {
	let crc = ~0;
	for (const byte of bytes) {
		crc ^= byte;
		for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb8_8320 : 0);
	}
	return ~crc >>> 0;
}

/** WebP and JPEG may begin the block with a mark that PNG has not. */
function withoutMark(exif: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
	return latin1(exif.subarray(0, 6)) === EXIF_MARK ? exif.subarray(6) : exif;
}

function get24(bytes: Uint8Array, at: number): number {
	return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
}

function put24(bytes: Uint8Array, at: number, value: number): void {
	bytes.set([value & 255, (value >> 8) & 255, (value >> 16) & 255], at);
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
	const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
	let at = 0;
	for (const part of parts) {
		all.set(part, at);
		at += part.length;
	}
	return all;
}

function ascii(text: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function latin1(bytes: Uint8Array): string {
	let text = "";
	for (const byte of bytes) text += String.fromCharCode(byte);
	return text;
}
