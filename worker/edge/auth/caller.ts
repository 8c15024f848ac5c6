/** Who asks, found out before anything of a request is looked at. Costs at most one call: to the account of its key. */
import type { Context, MiddlewareHandler } from "hono";
import { keyHash, keyId, type Limits, type Scope } from "../../protocol/api-key.ts";
import { traceFor } from "../../protocol/trace.ts";
import type { Left } from "../admission/bucket.ts";
import { limitHeaders } from "../admission/headers.ts";
import { forbidden, noKey, tooMany, wrongKey } from "../admission/refusals.ts";
import { log } from "../log.ts";
import { accountNamed, type Owner, type Pass } from "../objects.ts";
import { type App, settingsOf } from "../settings.ts";
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
	/** Null where nothing is counted. `pictures`: how many this request may begin. */
	admitted: { limits: Limits; pictures: number; reset: number } | null;
	/** Pictures that this request has begun. */
	queued: number;
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
		const pictures = access === "picture" && beginsPicture(c) ? 1 : 0;
		const { left, ...known } = await callerOf(c, pictures);
		const traceparent = traceFor(c.req.header("traceparent") ?? null);
		const caller: Caller = { ...known, queued: 0, traceparent, requestId: c.var.requestId };
		c.set("caller", caller);
		try {
			if (scope !== "known" && !may(caller, scope)) throw forbidden(scope);
			await next();
		} finally {
			const { owner, admitted, queued } = caller;
			if (owner !== null && queued !== pictures) later(c, accountNamed(c.env, owner).settle(queued - pictures));
			if (admitted && left) {
				const now = { ...left, pictures: Math.max(0, left.pictures + pictures - queued) };
				for (const [name, value] of Object.entries(limitHeaders(admitted.limits, now))) c.res.headers.set(name, value);
			}
		}
	};
}

/** Whether a caller's key has the scope; one for keys and metrics has all. */
export const may = ({ scopes }: Pick<Caller, "scopes">, scope: Scope): boolean =>
	scopes.includes(scope) || scopes.includes("admin");

/** A reader that comes back asks for what is counted already. */
function beginsPicture({ req }: Context<App>): boolean {
	return req.method !== "HEAD" && !req.header("last-event-id") && !req.query("lastEventId");
}

interface Known extends Pick<Caller, "owner" | "scopes" | "admitted"> {
	left: Left | null;
}

async function callerOf(c: Context<App>, pictures: number): Promise<Known> {
	const settings = settingsOf(c.env);
	const ticket = ["GET", "HEAD"].includes(c.req.method) ? c.req.query("ticket") : undefined;
	if (ticket !== undefined) {
		const { owner, scope } = await ticketOf(c.env, ticket);
		if (owner === null) return needsNoKey(c) ? uncounted([scope]) : refuse(c, wrongKey());
		return enter(c, owner, { ticket: true }, pictures, [scope]);
	}
	const token = bearer(c.req.raw);
	if (token !== "" && settings.ADMIN_SECRET !== undefined && (await sameSecret(settings.ADMIN_SECRET, token)))
		return uncounted(["admin"]);
	const id = keyId(token);
	if (id !== null) return enter(c, id, { hash: await keyHash(token) }, pictures);
	// What clients send where they were told of none, such as "unused", is no try at a key.
	if (needsNoKey(c) && !token.startsWith("fl_")) return uncounted(["generate", "read"]);
	if (c.req.header("authorization") !== undefined) return refuse(c, wrongKey());
	if (settings.ANONYMOUS_PER_DAY === 0) return refuse(c, noKey());
	const limits = { ...ANONYMOUS, per_day: settings.ANONYMOUS_PER_DAY };
	return enter(c, await addressOf(c), { limits, scopes: ["generate", "read"] }, pictures);
}

/** Only who speaks to this machine as itself: a name that leads here from elsewhere is in the request's own address. */
function needsNoKey(c: Context<App>): boolean {
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
	pictures: number,
	only?: readonly Scope[],
): Promise<Known> {
	const entered = await accountNamed(c.env, owner).enter(pass, pictures);
	if ("refused" in entered) {
		if (entered.refused === "unknown") return refuse(c, wrongKey());
		throw tooMany(entered);
	}
	const { scopes, limits, left } = entered;
	// A ticket has what it was made for, as long as its key has that.
	const allowed = only ? only.filter((scope) => may({ scopes }, scope)) : scopes;
	const admitted = { limits, pictures: left.pictures + pictures, reset: left.picturesReset };
	return { owner, scopes: allowed, admitted, left };
}

const uncounted = (scopes: readonly Scope[]): Known => ({ owner: null, scopes, admitted: null, left: null });

function refuse(c: Context<App>, error: Error): never {
	log("key refused", { request: c.var.requestId, path: c.req.path.slice(0, 100) });
	throw error;
}

/** The account of an address, whose name does not tell it. Of IPv6 a subscriber has a /64 at least. */
async function addressOf(c: Context<App>): Promise<string> {
	const header = settingsOf(c.env).CLIENT_ADDRESS_HEADER;
	const address = (header && c.req.header(header)?.slice(0, 64)) || "unknown";
	const subscriber = address.includes(":") ? address.split(":").slice(0, 4).join(":") : address;
	return `address ${(await keyHash(`firstlight address 1\n${subscriber}`)).slice(0, 32)}`;
}

function later(c: Context<App>, work: Promise<unknown>): void {
	const settled = work.catch((error: unknown) => log("account not reached", { message: String(error) }));
	try {
		c.executionCtx.waitUntil(settled);
	} catch {
		// Without a context, as some tests call the app, it goes on by itself.
	}
}
