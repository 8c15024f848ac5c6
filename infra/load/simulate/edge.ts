/** Loads the edge's own classes and routes into this process, which must have given its clock away. */
import { createHmac } from "node:crypto";
import { registerHooks } from "node:module";
import type { Random } from "../random.ts";

/** What the simulation uses of worker/edge, whose own types need Cloudflare's. */
export interface Edge {
	Pool: unknown;
	Job: unknown;
	orderOf(env: object, wish: object, keeping: object, warnings: object): Promise<{ input: object }>;
	startJob(env: object, input: object): Promise<string>;
	warnings(): object;
	follow(
		env: object,
		job: string,
		after: number,
		signal: AbortSignal,
	): AsyncGenerator<{ n: number; type: string; json: string } | null>;
}

const RUNTIME = "cloudflare:workers";

let hooked = false;

export async function loadEdge(random: Random): Promise<Edge> {
	if (!hooked) offerRuntime();
	hooked = true;
	settleCrypto(random);
	const load = async (file: string) => await import(new URL(`../../../worker/edge/${file}.ts`, import.meta.url).href);
	const [{ Pool }, { Job }, { orderOf }, { startJob }, { Warnings }, { follow }] = await Promise.all(
		["pool/pool", "job/job", "job/order", "start", "http/warnings", "job/follow"].map(load),
	);
	return { Pool, Job, orderOf, startJob, warnings: () => new Warnings({ STRICT: false }), follow };
}

/** `cloudflare:workers`, as far as the edge's classes ask for it. */
function offerRuntime(): void {
	registerHooks({
		resolve: (specifier, context, next) =>
			specifier === RUNTIME ? { url: RUNTIME, shortCircuit: true } : next(specifier, context),
		load: (url, context, next) =>
			url === RUNTIME
				? {
						format: "module",
						shortCircuit: true,
						source: "export class DurableObject { constructor(ctx, env) { this.ctx = ctx; this.env = env; } }",
					}
				: next(url, context),
	});
}

/** Web Crypto answers when a thread of its own is done, which no seed decides: the same sums, at once. */
function settleCrypto(random: Random): void {
	const { subtle } = globalThis.crypto;
	const keys = new WeakMap<object, Buffer>();
	Object.defineProperties(subtle, {
		importKey: {
			configurable: true,
			value: async (_: string, raw: Uint8Array) => {
				const key = {};
				keys.set(key, Buffer.from(raw));
				return key;
			},
		},
		sign: {
			configurable: true,
			value: async (_: string, key: object, data: Uint8Array) => {
				const { buffer, byteOffset, byteLength } = createHmac("sha256", keys.get(key) as Buffer)
					.update(data)
					.digest();
				return buffer.slice(byteOffset, byteOffset + byteLength);
			},
		},
	});
	let made = 0;
	Object.defineProperty(globalThis.crypto, "randomUUID", {
		configurable: true,
		value: () =>
			`${Math.floor(random() * 2 ** 32)
				.toString(16)
				.padStart(8, "0")}-0000-4000-8000-${(++made).toString(16).padStart(12, "0")}`,
	});
}
