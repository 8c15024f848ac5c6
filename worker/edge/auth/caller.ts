/** Who asks, found out before anything of a request is looked at. Costs at most one call, to the account of its key. */
import type { Context, MiddlewareHandler } from "hono";
import { keyHash, keyId, type Limits, type Scope } from "../../protocol/api-key.ts";
import { traceFor } from "../../protocol/trace.ts";
import type { Left } from "../admission/bucket.ts";
import { limitHeaders } from "../admission/headers.ts";
import { forbidden, noKey, tooMany, wrongKey } from "../admission/refusals.ts";
import { log } from "../log.ts";
import { accountNamed, type Owner, type Pass } from "../objects.ts";
import { type App, type Settings, settingsOf } from "../settings.ts";
import { ticketOf } from "./ticket.ts";
import { bearer, sameSecret } from "./token.ts";

/**
 * What a route asks of who comes: nothing, any key, a scope, the scope to make a picture, which is counted, or to look
 * at metrics, which on this machine alone everybody may.
 */
export type Access = "open" | "known" | Scope | "picture" | "metrics";

/** Who asks, and what they may. */
export interface Caller {
	/** Null where no key is asked for, and of the admin's secret. */
	owner: Owner;
	scopes: readonly Scope[];
	/** Null where nothing is counted. `left`: after what this request has taken so far. */
	admitted: { limits: Limits; left: Left } | null;
	/** Of the request: its trace context, handed on to workers, and its id. */
	traceparent: string;
	requestId: string;
}

const SCOPES: Partial<Record<Access, Scope>> = { picture: "generate", metrics: "admin" };

/** An address without a key: one picture at a time, after those who have one. */
const ANONYMOUS = { per_minute: 60, concurrent: 1, weight: 0.25 } as const;

/** Lets in who may do what the route does, counts it, and says in the answer's headers what is left. */
export function admit(access: Access): MiddlewareHandler<App> {
	return async (c, next) => {
		if (access === "open" || (access === "metrics" && needsNoKey(c))) return next();
		const scope = SCOPES[access] ?? (access as Scope | "known");
		const known = await callerOf(c, access === "picture" && beginsPicture(c));
		const traceparent = traceFor(c.req.header("traceparent") ?? null);
		const caller: Caller = { ...known, traceparent, requestId: c.var.requestId };
		c.set("caller", caller);
		try {
			if (scope !== "known" && !may(caller, scope)) throw forbidden(scope);
			await next();
		} finally {
			const { admitted } = caller;
			const headers = admitted ? limitHeaders(admitted.limits, admitted.left) : {};
			for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value);
		}
	};
}

/** Whether a caller's key has the scope; one for keys and metrics has all. */
export const may = ({ scopes }: Pick<Caller, "scopes">, scope: Scope): boolean =>
	scopes.includes(scope) || scopes.includes("admin");

/**
 * A reader that comes back asks for what is counted already, and so may a request that is sent again under its key:
 * what that begins after all is counted before it is queued.
 */
function beginsPicture({ req }: Context<App>): boolean {
	const again = req.header("last-event-id") || req.query("lastEventId") || req.header("idempotency-key");
	return req.method !== "HEAD" && !again;
}

type Known = Pick<Caller, "owner" | "scopes" | "admitted">;

async function callerOf(c: Context<App>, begins: boolean): Promise<Known> {
	const settings = settingsOf(c.env);
	const ticket = ["GET", "HEAD"].includes(c.req.method) ? c.req.query("ticket") : undefined;
	if (ticket !== undefined) {
		const { owner, scope } = await ticketOf(c.env, ticket);
		if (owner === null) return needsNoKey(c) ? uncounted([scope]) : refuse(c, wrongKey());
		const pass = isAddress(owner) ? anonymous(settings) : { ticket: true as const };
		return enter(c, owner, pass ?? refuse(c, wrongKey()), begins, [scope]);
	}
	const token = bearer(c.req.raw);
	if (token !== "" && settings.ADMIN_SECRET !== undefined && (await sameSecret(settings.ADMIN_SECRET, token)))
		return uncounted(["admin"]);
	const id = keyId(token);
	if (id !== null) return enter(c, id, { hash: await keyHash(token) }, begins);
	// What clients send where they were told of none, such as "unused", is no try at a key.
	if (needsNoKey(c) && !token.startsWith("fl_")) return uncounted(["generate", "read"]);
	if (c.req.header("authorization") !== undefined) return refuse(c, wrongKey());
	return enter(c, await addressOf(c), anonymous(settings) ?? refuse(c, noKey()), begins);
}

/** What an address may that has no key; null where it may nothing. */
function anonymous({ ANONYMOUS_PER_DAY }: Settings): Pass | null {
	if (ANONYMOUS_PER_DAY === 0) return null;
	return { limits: { ...ANONYMOUS, per_day: ANONYMOUS_PER_DAY }, scopes: ["generate", "read"] };
}

/** Only who speaks to this machine as itself: a name that leads here from elsewhere is in the request's own address. */
export function needsNoKey(c: Context<App>): boolean {
	const { hostname } = new URL(c.req.url);
	return (
		settingsOf(c.env).API_KEYS === "none" &&
		(hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname))
	);
}

async function enter(
	c: Context<App>,
	owner: string,
	pass: Pass,
	begins: boolean,
	only?: readonly Scope[],
): Promise<Known> {
	const entered = await accountNamed(c.env, owner).enter(pass, begins);
	if ("refused" in entered) {
		if (entered.refused === "unknown") return refuse(c, wrongKey());
		throw tooMany(entered);
	}
	const { scopes, limits, left } = entered;
	// A ticket has what it was made for, as long as its key has that.
	const allowed = only ? only.filter((scope) => may({ scopes }, scope)) : scopes;
	return { owner, scopes: allowed, admitted: { limits, left } };
}

const uncounted = (scopes: readonly Scope[]): Known => ({ owner: null, scopes, admitted: null });

function refuse(c: Context<App>, error: Error): never {
	log("key refused", { request: c.var.requestId, path: c.req.path.slice(0, 100) });
	throw error;
}

/** Of an account that is an address's and no key's. */
const ADDRESS = "address ";
const isAddress = (owner: string): boolean => owner.startsWith(ADDRESS);

/** The account of an address, whose name does not tell it. */
async function addressOf(c: Context<App>): Promise<string> {
	const header = settingsOf(c.env).CLIENT_ADDRESS_HEADER;
	const address = (header && c.req.header(header)?.slice(0, 64)) || "unknown";
	return ADDRESS + (await keyHash(`firstlight address 1\n${subscriberOf(address)}`)).slice(0, 32);
}

/** Of IPv6 a subscriber has a /64 at least, however it is written; IPv4 in its clothes is IPv4. */
function subscriberOf(address: string): string {
	if (!URL.canParse(`http://[${address}]`)) return address;
	// As URL writes it: small letters, no leading zeros, no dots, and `::` once at most.
	const [head, tail = ""] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
	const [first, last] = [head, tail].map((groups) => groups.split(":").filter(Boolean));
	const groups = [...first, ...Array<string>(8 - first.length - last.length).fill("0"), ...last];
	if (groups.slice(0, 6).join(":") !== "0:0:0:0:0:ffff") return groups.slice(0, 4).join(":");
	return groups
		.slice(6)
		.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255])
		.join(".");
}
