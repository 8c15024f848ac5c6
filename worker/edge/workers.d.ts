/** The part of the Workers runtime we use, typed by hand: the generated types are half a megabyte. */

interface WebSocket {
	accept(): void;
	serializeAttachment(value: unknown): void;
	deserializeAttachment(): unknown;
}
declare class WebSocketPair {
	0: WebSocket;
	1: WebSocket;
}
interface ResponseInit {
	webSocket?: WebSocket | null;
}
interface Response {
	readonly webSocket: WebSocket | null;
}

interface DurableObjectId {
	toString(): string;
}
/** Calls of a Durable Object's public methods, each now asynchronous. */
type DurableObjectStub<T = unknown> = {
	[K in keyof T as T[K] extends (...args: never[]) => unknown ? K : never]: T[K] extends (...args: infer A) => infer R
		? (...args: A) => Promise<Awaited<R>>
		: never;
} & { fetch(request: Request): Promise<Response> };
interface DurableObjectNamespace<T = unknown> {
	newUniqueId(): DurableObjectId;
	idFromName(name: string): DurableObjectId;
	/** Throws for an id that this namespace did not make. */
	idFromString(id: string): DurableObjectId;
	get(id: DurableObjectId): DurableObjectStub<T>;
}
type SqlValue = string | number | null;
interface SqlStorage {
	exec<T extends Record<string, SqlValue>>(
		query: string,
		...bindings: SqlValue[]
	): Iterable<T> & { toArray(): T[]; one(): T; rowsWritten: number };
}
interface DurableObjectState {
	readonly id: DurableObjectId;
	readonly storage: {
		readonly sql: SqlStorage;
		readonly kv: {
			get<T>(key: string): T | undefined;
			put(key: string, value: unknown): void;
			delete(key: string): boolean;
			list<T>(options: { prefix: string }): Iterable<[string, T]>;
		};
		transactionSync<T>(run: () => T): T;
		getAlarm(): Promise<number | null>;
		setAlarm(time: number): Promise<void>;
		deleteAlarm(): Promise<void>;
		deleteAll(): Promise<void>;
	};
	waitUntil(promise: Promise<unknown>): void;
	/** Resets the object: who waits for an answer gets an error. */
	abort(reason?: string): void;
	blockConcurrencyWhile<T>(run: () => Promise<T>): Promise<T>;
	acceptWebSocket(socket: WebSocket, tags?: string[]): void;
	getWebSockets(tag?: string): WebSocket[];
	/** Answered without waking the object. */
	setWebSocketAutoResponse(pair: WebSocketRequestResponsePair): void;
	/** When that happened last. */
	getWebSocketAutoResponseTimestamp(socket: WebSocket): Date | null;
}
declare class WebSocketRequestResponsePair {
	constructor(request: string, response: string);
}

interface R2Object {
	readonly size: number;
	/** In quotes, as a header has it. */
	readonly httpEtag: string;
	readonly key: string;
	readonly httpMetadata?: R2HttpMetadata;
	readonly customMetadata?: Record<string, string>;
}
interface R2HttpMetadata {
	contentType?: string;
}
interface R2ObjectBody extends R2Object {
	readonly body: ReadableStream<Uint8Array>;
	arrayBuffer(): Promise<ArrayBuffer>;
}
interface R2Bucket {
	head(key: string): Promise<R2Object | null>;
	get(key: string, options?: { range: { offset: number; length: number } }): Promise<R2ObjectBody | null>;
	put(
		key: string,
		value: string | ArrayBuffer | ArrayBufferView,
		about?: { httpMetadata?: R2HttpMetadata; customMetadata?: Record<string, string> },
	): Promise<R2Object>;
	delete(key: string): Promise<void>;
	list(): Promise<{ objects: R2Object[] }>;
}

declare namespace Cloudflare {
	type Env = object;
}
declare module "cloudflare:workers" {
	export abstract class DurableObject<E = unknown> {
		protected ctx: DurableObjectState;
		protected env: E;
		constructor(ctx: DurableObjectState, env: E);
		fetch(request: Request): Promise<Response>;
		alarm(): Promise<void>;
		webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void>;
		webSocketClose(socket: WebSocket, code: number): Promise<void>;
		webSocketError(socket: WebSocket): Promise<void>;
	}
	export const env: Cloudflare.Env;
	export function waitUntil(promise: Promise<unknown>): void;
	export const exports: { default: { fetch(input: string | Request, init?: RequestInit): Promise<Response> } };
}
