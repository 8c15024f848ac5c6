/**
 * Requests as only somebody who means harm sends them, drawn from a seed: sizes, types, encodings, headers, ids of
 * others' jobs, forged and expired tokens, replayed leases, path tricks. What comes back is held to four promises: no
 * 5xx but those that say to come again, no hang, nothing of another key's, nothing of the inside.
 */
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { expect } from "vitest";
import { signTicket } from "../../worker/edge/auth/ticket.ts";
import { signToken } from "../../worker/edge/auth/token.ts";
import { signModelToken, signWorkerToken } from "../../worker/edge/auth/worker-token.ts";
import { ErrorBody } from "../../worker/edge/http/errors.ts";
import app from "../../worker/edge/index.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { type MintedKey, newKey } from "../../worker/protocol/api-key.ts";
import { ADMIN, deliver, finalEvent, Peer, SECRET, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

const settings: Env = { ...(env as unknown as Env), API_KEYS: "required" };
/** What the victim drew: nobody else may ever see it. */
const PROMPT = "the victim's secret lighthouse";
/** Longest that an answer may take to begin and to be read. */
const LATE_MS = 5000;
/** What would tell of the inside. */
const INSIDE =
	/\bat \S+ \(|\.ts:\d|node_modules|SQLITE|durable object|workerd|cloudflare:|TypeError|ReferenceError|ZodError/i;
/** Refusals that name a time to come again, and what a mistaken operator would have to mend: none of these here. */
const ALLOWED_5XX = ["no_workers", "queue_full"];

interface Victim {
	key: MintedKey;
	job: string;
	lease: Awaited<ReturnType<Peer["next"]>> & { type: "lease" };
	secrets: string[];
}

async function fetchEdge(request: Request): Promise<Response> {
	return app.fetch(request, settings as never);
}
async function mint(body: object): Promise<MintedKey> {
	const response = await fetchEdge(
		new Request("https://edge.example/v1/admin/keys", {
			method: "POST",
			headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
			body: JSON.stringify({ name: "test", ...body }),
		}),
	);
	return response.json();
}

/** Somebody with a finished picture, and the attacker beside. */
async function stage(): Promise<{ victim: Victim; attacker: MintedKey; reads: MintedKey; revoked: MintedKey }> {
	const limits = { per_minute: 100_000, per_day: 10_000_000, concurrent: 2 };
	const [key, attacker, reads, revoked] = [
		await mint({}),
		await mint({ limits }),
		await mint({ scopes: ["read"], limits }),
		await mint({}),
	];
	await fetchEdge(
		new Request(`https://edge.example/v1/admin/keys/${revoked.id}`, {
			method: "DELETE",
			headers: { authorization: `Bearer ${ADMIN}` },
		}),
	);
	const peer = await Peer.join({ worker: "victims" });
	const reader = new Reader(
		await fetchEdge(
			new Request(`https://edge.example/v1/images/preview?prompt=${encodeURIComponent(PROMPT)}&seed=77`, {
				headers: { authorization: `Bearer ${key.key}` },
			}),
		),
	);
	const lease = await peer.next("lease");
	await peer.finish(lease);
	const events = await reader.rest();
	const { base64, sha256 } = events.at(-1)!.data;
	peer.leave();
	await Peer.join({ worker: "others", automatic: true, slots: 4 });
	return {
		victim: { key, job: lease.job, lease, secrets: [PROMPT, base64, sha256, key.key] },
		attacker,
		reads,
		revoked,
	};
}

const evil = fc.oneof(
	fc.string({ maxLength: 60 }),
	fc.string({ unit: "binary", maxLength: 60 }),
	fc.constantFrom(
		"",
		"null",
		"../../../etc/passwd",
		"..%2f..%2f",
		"%00",
		"%ff%fe",
		"' OR 1=1 --",
		"<script>alert(1)</script>",
		"__proto__",
		"constructor",
		"\u0000",
		"\ud800",
		"\u202e",
		"x".repeat(5000),
		"9".repeat(400),
		"-0",
		"1e309",
		"NaN",
		"\u0024{jndi:ldap://x}",
		"{{7*7}}",
		"[]",
		"{}",
	),
);
const FIELDS = [
	"prompt",
	"class",
	"seed",
	"model",
	"policy",
	"plan",
	"schedule",
	"format",
	"until",
	"from",
	"scales",
	"size",
	"n",
	"stream",
	"partial_images",
	"output_format",
	"output_compression",
	"response_format",
	"quality",
	"lastEventId",
	"ticket",
	"expires",
	"signature",
	"name",
	"scopes",
	"limits",
	"scope",
	"__proto__",
];
const json = fc.oneof(
	fc.jsonValue({ maxDepth: 4 }),
	fc.dictionary(fc.constantFrom(...FIELDS), fc.oneof(fc.jsonValue({ maxDepth: 2 }), evil), { maxKeys: 8 }),
	fc.record({ prompt: evil, seed: fc.oneof(fc.integer(), fc.double(), evil), plan: fc.jsonValue({ maxDepth: 5 }) }),
);
const body = fc.oneof(
	json.map((value) => JSON.stringify(value) ?? "null"),
	evil,
	fc.uint8Array({ maxLength: 200 }),
	fc.integer({ min: 0, max: 5 }).map((power) => "[".repeat(10 ** Math.min(power, 4)).padEnd(10 ** power, " ")),
	fc.constant('{"prompt":"x","prompt":"y"}'),
	fc.constant(`{"prompt":"${"x".repeat(70_000)}"}`),
);

export interface Drawn {
	method: string;
	path: string;
	query: string;
	headers: [string, string][];
	body: string | Uint8Array<ArrayBuffer> | null;
	/** Which credential, by its name. */
	as: string;
}

/** Requests against a stage; `ids` are jobs, `credentials` what may be sent as a bearer. */
const drawn = (ids: readonly string[], credentials: readonly string[]): fc.Arbitrary<Drawn> => {
	const id = fc.oneof(fc.constantFrom(...ids), fc.constantFrom("0".repeat(64), "f".repeat(64), "x"), evil.map(encode));
	const path = fc.oneof(
		fc.constantFrom(
			"/v1/images/preview",
			"/v1/images/generations",
			"/v1/jobs",
			"/v1/models",
			"/v1/models/test-32",
			"/v1/policies",
			"/v1/tickets",
			"/v1/admin/keys",
			"/v1/admin/workers",
			"/metrics",
			"/healthz",
			"/openapi.json",
			"/docs",
			"/internal/pool/connect",
			"/internal/workers/token",
		),
		id.map((job) => `/v1/jobs/${job}`),
		fc
			.tuple(id, fc.constantFrom("image", "events", "refine", "branch", "x"))
			.map(([job, view]) => `/v1/jobs/${job}/${view}`),
		id.map((job) => `/internal/jobs/${job}/events`),
		id.map((key) => `/v1/admin/keys/${key}`),
		id.map((worker) => `/v1/admin/workers/${worker}`),
		evil.map((model) => `/v1/models/${encode(model)}`),
		fc.tuple(evil, evil).map(([model, file]) => `/v1/models/${encode(model)}/files/${encode(file)}`),
		evil.map((text) => `/v1/images/preview/..%2f..%2f${encode(text)}`),
		fc.constantFrom(
			"//v1//models//",
			"/v1/./models",
			"/v1/%2e%2e/admin/keys",
			"/V1/MODELS",
			"/v1/admin/keys%00",
			"/.env",
		),
		evil.map((text) => `/${encode(text)}`),
	);
	const pair = fc.oneof(
		fc.tuple(fc.constantFrom(...FIELDS), evil).map(([name, value]) => `${name}=${encode(value)}`),
		id.map((job) => `lastEventId=${job}.0`),
		id.map((job) => `from=${job}&scales=2&prompt=x`),
		evil.map(encode),
		fc.constant(`prompt=x&${"a=b&".repeat(3000)}`),
	);
	const header = fc.oneof(
		fc
			.tuple(
				fc.constantFrom(
					"accept",
					"content-type",
					"content-encoding",
					"content-length",
					"last-event-id",
					"if-none-match",
					"range",
					"origin",
					"upgrade",
					"x-request-id",
					"x-owner",
					"x-firstlight-worker",
					"traceparent",
					"idempotency-key",
					"cf-connecting-ip",
					"x-forwarded-for",
				),
				evil,
			)
			// Bytes, as a header has them.
			.map(([name, value]): [string, string] => [name, value.replace(/[^\0-\xff]/g, "\xff")]),
		id.map((job): [string, string] => ["last-event-id", `${job}.-1`]),
		fc.constantFrom<[string, string]>(
			["content-encoding", "gzip"],
			["content-type", "application/json"],
			["content-type", "multipart/form-data; boundary=x"],
			["content-type", "application/json; charset=utf-7"],
			["upgrade", "websocket"],
			["x-padding", "x".repeat(20_000)],
		),
	);
	return fc.record({
		method: fc.constantFrom("GET", "GET", "POST", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"),
		path,
		query: fc.array(pair, { maxLength: 4 }).map((pairs) => pairs.join("&")),
		headers: fc.array(header, { maxLength: 4 }),
		body: fc.option(body as fc.Arbitrary<string | Uint8Array<ArrayBuffer>>, { nil: null }),
		as: fc.constantFrom(...credentials),
	});
};
const encode = (text: string): string => encodeURIComponent(text.toWellFormed());

/** What is over before it is sent, and so takes its time to make. */
interface Stale {
	ticket: string;
	worker: string;
}
async function stale(): Promise<Stale> {
	const past = { ...settings, TICKET_SECONDS: 1, WORKER_TOKEN_SECONDS: 1 };
	const made = { ticket: await signTicket(past, "victim", "generate"), worker: await signWorkerToken(past, "w") };
	await new Promise((resolve) => setTimeout(resolve, 2100));
	return made;
}

/** Sends so many drawn requests, and holds every answer to the promises. Gives how many there were of each status. */
export async function attack(count: number, seed: number): Promise<Record<string, number>> {
	const past = await stale();
	const statuses: Record<string, number> = {};
	for (let from = 0; from < count; from += BATCH) await battle(BATCH, seed + from, past, statuses);
	return statuses;
}

/** As long as a victim's picture is kept there is something to be taken. */
const BATCH = 125;

async function battle(count: number, seed: number, past: Stale, statuses: Record<string, number>): Promise<void> {
	const { victim, attacker, reads, revoked } = await stage();
	const begun = Date.now();
	const foreign = {
		...settings,
		ADMIN_SECRET: "another-secret-0123456789",
		WORKER_SECRET: "another-secret-0123456789",
	};
	const tickets = [past.ticket, await signTicket(foreign, victim.key.id, "generate")];
	const credentials: Record<string, string> = {
		none: "",
		attacker: attacker.key,
		"attacker too": attacker.key,
		reads: reads.key,
		revoked: revoked.key,
		invented: newKey().key,
		mistyped: `${victim.key.key.slice(0, -1)}_`,
		id: victim.key.id,
		"forged lease": await signToken("another-secret-0123456789", victim.job, 1),
		"replayed lease": victim.lease.token,
		"past worker": past.worker,
		"foreign worker": await signWorkerToken(foreign, "w"),
		"foreign model": await signModelToken(foreign, "small"),
		"ticket as key": await signTicket(settings, attacker.id, "read"),
		garbage: "a.b.c",
	};
	const ids = [victim.job, `${victim.job}.0`, victim.job.toUpperCase(), victim.job.slice(1)];
	const requests = fc.sample(drawn(ids, Object.keys(credentials)), { numRuns: count, seed });
	const send = async () => {
		for (let drawn = requests.pop(); drawn; drawn = requests.pop()) {
			const answered = await answerTo(drawn, credentials, tickets);
			if (!answered) continue;
			statuses[answered.status] = (statuses[answered.status] ?? 0) + 1;
			hold(answered, drawn, victim);
		}
	};
	await Promise.all(Array.from({ length: 8 }, send));
	// Late deliveries under the lease that is over change nothing.
	for (const event of [scaleEvent(victim.lease, 0), finalEvent(victim.lease)])
		expect(await (await deliver(victim.lease, event)).json()).toEqual({ go: "stop" });
	// After all that the victim's picture is the victim's, and whole, for as long as it is kept.
	const again = await fetchEdge(
		new Request(`https://edge.example/v1/images/preview?lastEventId=${victim.job}`, {
			headers: { authorization: `Bearer ${victim.key.key}` },
		}),
	);
	if (again.status === 404) expect(Date.now() - begun).toBeGreaterThan(500 * Number(settings.JOB_KEEP_SECONDS));
	else expect((await new Reader(again).rest()).at(-1)!.data.base64).toBe(victim.secrets[1]);
	await everybodyLeaves();
}

function hold({ status, text, headers }: Answered, drawn: Drawn, victim: Victim): void {
	const about = `${status} ${JSON.stringify(drawn).slice(0, 600)}: ${text.slice(0, 600)}`;
	if (status >= 500) expect(ALLOWED_5XX, about).toContain(ErrorBody.safeParse(JSON.parse(text)).data?.error.code);
	if (status >= 400 && text !== "") expect(ErrorBody.safeParse(JSON.parse(text)).success, about).toBe(true);
	const said = text + JSON.stringify([...headers]);
	for (const secret of [...victim.secrets, SECRET, ADMIN]) expect(said.includes(secret), about).toBe(false);
	if (status >= 400) expect(text, about).not.toMatch(INSIDE);
}

interface Answered {
	status: number;
	text: string;
	headers: Headers;
}

/** Null for what no client can send. */
async function answerTo(
	{ method, path, query, headers, body, as }: Drawn,
	credentials: Readonly<Record<string, string>>,
	tickets: readonly string[],
): Promise<Answered | null> {
	const leaves = new AbortController();
	let request: Request;
	try {
		const sent = new Headers();
		for (const [name, value] of headers) sent.append(name, value);
		if (as !== "none") sent.set("authorization", `Bearer ${credentials[as]}`);
		const ticket = as === "none" && query.length % 3 === 0 ? `&ticket=${tickets[query.length % 2]}` : "";
		request = new Request(`https://edge.example${path}?${query}${ticket}`, {
			method,
			headers: sent,
			...(method !== "GET" && method !== "HEAD" && body !== null && { body }),
			signal: leaves.signal,
		});
	} catch {
		return null;
	}
	let timer: ReturnType<typeof setTimeout> | undefined;
	const late = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new Error(`no answer: ${JSON.stringify({ method, path, query })}`)), LATE_MS);
	});
	try {
		const response = await Promise.race([fetchEdge(request), late]);
		const text = response.webSocket ? "" : await Promise.race([response.text(), late]);
		return { status: response.status, text, headers: response.headers };
	} finally {
		clearTimeout(timer);
		leaves.abort();
	}
}
