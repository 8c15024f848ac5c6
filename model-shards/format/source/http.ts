/**
 * A model folder behind an HTTP server. A cut download goes on where it ended (Range, If-Range); whatever a server says
 * of itself, only bytes with the manifest's size and SHA-256 are handed on.
 */
import { MissingFileError, ModelFormatError, WithheldFileError } from "../errors.ts";
import type { FileEntry } from "../manifest.ts";
import { sha256 } from "../sha256.ts";
import type { ModelSource, ReadOptions } from "./source.ts";

/** Where a download goes. What is there already may be from an earlier process. */
export interface Destination {
	/** Bytes held so far, from the file's beginning, and the ETag they came with. */
	have: number;
	etag: string | null;
	write(bytes: Uint8Array): Promise<void>;
	/** Forgets what is held; later bytes have this ETag. */
	restart(etag: string | null): Promise<void>;
	/** Of all that is held, in hex. */
	sha256(): Promise<string>;
}

export interface HttpOptions {
	/** Attempts in a row that bring nothing, before giving up. */
	attempts?: number;
	/** First pause between attempts; it doubles. */
	pauseMs?: number;
	/** Longest silence of a server. */
	silenceMs?: number;
	/** Of every request. Those of a function are kept until the server refuses them (401), and asked for once more. */
	headers?: RequestHeaders | (() => Promise<RequestHeaders>);
}

export type RequestHeaders = Record<string, string>;

export interface HttpSource extends ModelSource {
	download(entry: FileEntry, to: Destination, options?: ReadOptions): Promise<void>;
}

/** A 401: what the headers say of us is good no longer. */
class Refused extends ModelFormatError {}

/** Server errors that come again however often one asks: not implemented, no such version of HTTP. */
const FAILURES: Readonly<Record<number, typeof ModelFormatError>> = {
	401: Refused,
	403: WithheldFileError,
	404: MissingFileError,
	410: MissingFileError,
};
const NEVER = [501, 505];
const MAX_PAUSE_MS = 30_000;
/** Complete downloads with the wrong SHA-256 before giving up. */
const MAX_WRONG = 2;

/** What one attempt came to: more bytes are needed, or the bytes held are no good. */
class Retry extends Error {
	/** Milliseconds the server asked for. */
	readonly after: number;
	readonly fresh: boolean;
	constructor(message: string, { fresh = false, after = 0 } = {}) {
		super(message);
		this.fresh = fresh;
		this.after = after;
	}
}

/** `base`: the URL of the folder; its query is kept for every file. */
export function httpSource(
	base: string,
	{ attempts = 6, pauseMs = 250, silenceMs = 30_000, headers = {} }: HttpOptions = {},
): HttpSource {
	const root = URL.parse(base);
	if (!root || !/^https?:$/.test(root.protocol))
		throw new ModelFormatError(
			`${base} is not an http or https URL. Give the address of a model folder, as https://host/models/name.`,
		);
	const urlOf = (file: string): URL => {
		const url = new URL(root);
		url.pathname = `${url.pathname.replace(/\/$/, "")}/${file}`;
		return url;
	};

	let known: RequestHeaders | undefined = typeof headers === "function" ? undefined : headers;

	/** Tries until `once` succeeds. An attempt that came further than all before does not count, so that it ends. */
	const persist = async <T>(
		url: URL,
		signal: AbortSignal | undefined,
		held: () => number,
		once: (headers: RequestHeaders) => Promise<T>,
	): Promise<T> => {
		let renewed = false;
		for (let failed = 0, furthest = held(); ; ) {
			// Not tried again here: whoever gives them knows what helps.
			const own = (known ??= typeof headers === "function" ? await headers() : headers);
			try {
				return await once(own);
			} catch (error) {
				signal?.throwIfAborted();
				if (error instanceof Refused && typeof headers === "function" && !renewed) {
					renewed = true;
					// Another download may have asked for newer ones by now.
					if (known === own) known = undefined;
					continue;
				}
				if (error instanceof ModelFormatError) throw error;
				if (held() === 0 && isHopeless(error))
					throw new ModelFormatError(`${bare(url)} cannot be downloaded: ${reason(error)}. Check the address.`, {
						cause: error,
					});
				const asked = error instanceof Retry ? error.after : 0;
				failed = held() > furthest ? 0 : failed + 1;
				furthest = Math.max(furthest, held());
				if (failed >= attempts)
					throw new ModelFormatError(
						`${bare(url)} cannot be downloaded: ${reason(error)}, ${attempts} times in a row. Check the ` +
							"server and try again; what came is kept.",
						{ cause: error },
					);
				await sleep(Math.min(MAX_PAUSE_MS, Math.max(asked, pauseMs * 2 ** failed * (0.5 + Math.random() / 2))), signal);
			}
		}
	};

	const get = async (url: URL, headers: RequestHeaders, signal: AbortSignal): Promise<Response> => {
		const response = await fetch(url, { headers: { ...headers, "Accept-Encoding": "identity" }, signal });
		if (response.status === 200 || response.status === 206) return response;
		await response.body?.cancel();
		if (response.status === 416) throw new Retry("it has no such range", { fresh: true });
		if ([408, 425, 429].includes(response.status) || (response.status >= 500 && !NEVER.includes(response.status))) {
			throw new Retry(`it answers ${response.status}`, {
				after: 1000 * (Number(response.headers.get("Retry-After")) || 0),
			});
		}
		const Failure = FAILURES[response.status] ?? ModelFormatError;
		throw new Failure(
			`${bare(url)} cannot be downloaded: the server answers ${response.status} ${response.statusText}.`,
		);
	};

	const source: HttpSource = {
		label: bare(root),
		async small(file, maxBytes, signal) {
			const url = urlOf(file);
			return await persist(
				url,
				signal,
				() => 0,
				async (headers) => {
					const chunks: Uint8Array<ArrayBuffer>[] = [];
					let bytes = 0;
					const { body } = await within(silenceMs, signal, (signal) => get(url, headers, signal));
					for await (const chunk of chunksOf(body, silenceMs)) {
						if ((bytes += chunk.byteLength) > maxBytes)
							throw new ModelFormatError(`${bare(url)} has more than ${maxBytes} bytes.`);
						chunks.push(chunk);
					}
					return new Uint8Array(await new Blob(chunks).arrayBuffer());
				},
			);
		},
		async verified(entry, options) {
			const memory = memoryDestination(entry.bytes);
			await source.download(entry, memory, options);
			return memory.bytes;
		},
		async download(entry, to, { signal, progress } = {}) {
			const url = urlOf(entry.file);
			progress?.(to.have);
			const restart = async (etag: string | null): Promise<void> => {
				progress?.(-to.have);
				await to.restart(etag);
			};
			const once = async (headers: RequestHeaders): Promise<void> => {
				if (to.have < entry.bytes) {
					const asked = { ...headers, ...rangeOf(to) };
					const response = await within(silenceMs, signal, (signal) => get(url, asked, signal));
					const problem = rangeProblem(response, to, entry);
					if (problem || response.status === 200) await restart(response.headers.get("ETag"));
					if (problem) {
						await response.body?.cancel();
						throw new Retry(problem);
					}
					for await (const chunk of chunksOf(response.body, silenceMs, signal)) {
						if (to.have + chunk.byteLength > entry.bytes) {
							await restart(null);
							throw new Retry(`it sends more than the ${entry.bytes} bytes of the manifest`);
						}
						await to.write(chunk);
						progress?.(chunk.byteLength);
					}
				}
				if (to.have < entry.bytes) throw new Retry(`it was cut at ${to.have} of ${entry.bytes} bytes`);
			};
			for (let wrong = 1; ; wrong++) {
				await persist(
					url,
					signal,
					() => to.have,
					async (headers) => {
						try {
							await once(headers);
						} catch (error) {
							if (error instanceof Retry && error.fresh) await restart(null);
							throw error;
						}
					},
				);
				const got = await to.sha256();
				if (got === entry.sha256) return;
				await restart(null);
				if (wrong === MAX_WRONG) {
					throw new ModelFormatError(
						`${bare(url)} is damaged: its SHA-256 is ${got}, the manifest says ${entry.sha256}. The server ` +
							"holds other files than its manifest lists; upload the model again.",
					);
				}
			}
		},
	};
	return source;
}

/**
 * Whether asking again can change nothing: a name that does not exist, an answer that is no HTTP, a certificate that is
 * not good, an address that fetch never asks. Deno has words where Node has codes.
 */
function isHopeless(error: unknown): boolean {
	if (!(error instanceof TypeError)) return false;
	const { code, message = "" } = (error.cause ?? {}) as { code?: string; message?: string };
	return code ? HOPELESS.test(code) : HOPELESS_WORDS.test(`${error.message} ${message}`);
}
const HOPELESS = /^(ENOTFOUND|EPROTO|HPE_|CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|UND_ERR_INVALID)/;
const HOPELESS_WORDS = new RegExp(
	[
		"bad port|ports? \\d+ (is|are) blocked|redirect count|number of redirects|includes credentials",
		"does not match the HTTP|invalid HTTP|InvalidContentType|certificate",
		"Name or service not known|nodename nor servname",
	].join("|"),
	"i",
);

/** Headers that ask for the rest; a weak ETag may not stand in If-Range. */
function rangeOf({ have, etag }: Destination): RequestHeaders {
	if (have === 0) return {};
	const range = { Range: `bytes=${have}-` };
	return etag && !etag.startsWith("W/") ? { ...range, "If-Range": etag } : range;
}

/** What is wrong with the answer's claims, or null. A 200 is the whole file again, whatever was asked for. */
function rangeProblem(response: Response, { have, etag }: Destination, entry: FileEntry): string | null {
	if (response.status === 200) {
		const length = response.headers.get("Content-Length");
		return length === null || Number(length) === entry.bytes
			? null
			: `it has ${length} bytes, the manifest says ${entry.bytes}`;
	}
	const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(response.headers.get("Content-Range") ?? "");
	if (!range || Number(range[1]) !== have)
		return `it sends bytes ${response.headers.get("Content-Range")} where ${have} and on were asked for`;
	if (range[3] !== "*" && Number(range[3]) !== entry.bytes)
		return `it has ${range[3]} bytes, the manifest says ${entry.bytes}`;
	const now = response.headers.get("ETag");
	return etag !== null && now !== null && now !== etag ? "the file changed on the server" : null;
}

function memoryDestination(size: number): Destination & { bytes: Uint8Array<ArrayBuffer> } {
	return {
		bytes: new Uint8Array(size),
		have: 0,
		etag: null,
		async write(bytes) {
			this.bytes.set(bytes, this.have);
			this.have += bytes.byteLength;
		},
		async restart(etag) {
			this.have = 0;
			this.etag = etag;
		},
		sha256() {
			return sha256(this.bytes);
		},
	};
}

/**
 * Calls with a signal that fires when the caller's does, or after `ms`; once it has returned only the caller's counts.
 */
async function within<T>(
	ms: number,
	signal: AbortSignal | undefined,
	call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
	const silence = new AbortController();
	const timer = setTimeout(() => silence.abort(new Retry(`it is silent for ${ms} ms`)), ms);
	try {
		return await call(signal ? AbortSignal.any([signal, silence.signal]) : silence.signal);
	} finally {
		clearTimeout(timer);
	}
}

/** The chunks of a body; gives up a server that is silent too long. */
async function* chunksOf(
	body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
	silenceMs: number,
	signal?: AbortSignal,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
	if (!body) return;
	const reader = body.getReader();
	let stopped: { reason: unknown } | undefined;
	// Ends a read that waits. One listener for the whole body: a signal keeps all that was ever made of it.
	const stop = (reason: unknown): void => {
		stopped ??= { reason };
		reader.cancel(reason).catch(() => {});
	};
	const abort = () => stop(signal?.reason);
	signal?.addEventListener("abort", abort);
	try {
		for (;;) {
			signal?.throwIfAborted();
			const timer = setTimeout(() => stop(new Retry(`it is silent for ${silenceMs} ms`)), silenceMs);
			const { value, done } = await reader.read().finally(() => clearTimeout(timer));
			if (stopped) throw stopped.reason;
			if (done) return;
			yield value;
		}
	} finally {
		signal?.removeEventListener("abort", abort);
		await reader.cancel().catch(() => {});
	}
}

/** Rejects with the signal's reason when it comes first. */
async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
	signal?.throwIfAborted();
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	const timer = setTimeout(resolve, ms);
	const abort = () => reject(signal?.reason);
	signal?.addEventListener("abort", abort);
	try {
		await promise;
	} finally {
		clearTimeout(timer);
		signal?.removeEventListener("abort", abort);
	}
}

function reason(error: unknown): string {
	const { message, cause } = error as Error;
	// OpenSSL's words end with a line's end.
	return cause instanceof Error ? `${message} (${cause.message.trim()})` : message;
}

/** Without a query, which may be a signature. */
function bare(url: URL): string {
	return `${url.origin}${url.pathname}`;
}
