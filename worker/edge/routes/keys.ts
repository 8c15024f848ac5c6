/** What a keeper of keys does: POST, GET and DELETE /v1/admin/keys; and tickets, which whoever has a key makes. */
import type { Context } from "hono";
import { z } from "zod";
import {
	DEFAULT_LIMITS,
	isKeyId,
	type KeyDescription,
	keyHash,
	type MintedKey,
	NewKey,
	newKey,
} from "../../protocol/api-key.ts";
import { MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import { forbidden, noTicket } from "../admission/refusals.ts";
import { may, needsNoKey } from "../auth/caller.ts";
import { signTicket, TicketScope } from "../auth/ticket.ts";
import { readJson } from "../http/body.ts";
import { ApiError, invalidInput } from "../http/errors.ts";
import { log } from "../log.ts";
import { accountNamed, keyringOf } from "../objects.ts";
import { type App, settingsOf } from "../settings.ts";

type C = Context<App>;

export async function mintKey(c: C): Promise<Response> {
	const { name, scopes, expires_in_days, limits } = await bodyOf(c, NewKey);
	const { id, key } = newKey();
	const created = now();
	const description: KeyDescription = {
		id,
		name,
		scopes: [...new Set(scopes)],
		limits: { ...DEFAULT_LIMITS, ...limits },
		created,
		expires: expires_in_days === undefined ? null : created + expires_in_days * 86_400,
		revoked: null,
	};
	const { expires } = description;
	// Listed first: a key that nobody could find again must not open anything.
	await keyringOf(c.env).put(description);
	await accountNamed(c.env, id).open({
		hash: await keyHash(key),
		scopes: description.scopes,
		limits: description.limits,
		expires: expires === null ? null : expires * 1000,
		revoked: null,
	});
	log("key minted", { request: c.var.requestId, key: id, scopes: description.scopes });
	return c.json<MintedKey, 201>({ ...description, key }, 201, { "cache-control": "no-store" });
}

export async function listKeys(c: C): Promise<Response> {
	return c.json({ object: "list", data: await keyringOf(c.env).list() }, 200, { "cache-control": "no-store" });
}

export async function revokeKey(c: C): Promise<Response> {
	const id = c.req.param("key") ?? "";
	const found = isKeyId(id) ? await keyringOf(c.env).get(id) : null;
	if (!found)
		throw new ApiError(404, "key_not_found", "There is no such key. GET /v1/admin/keys lists them.", { param: "key" });
	const revoked = found.revoked ?? now();
	// First where it counts.
	await accountNamed(c.env, id).revoke(revoked * 1000);
	await keyringOf(c.env).put({ ...found, revoked });
	log("key revoked", { request: c.var.requestId, key: id });
	return c.json<KeyDescription>({ ...found, revoked });
}

export const NewTicket = z.strictObject({
	scope: TicketScope.default("generate").describe("What it is good for; its key must have that."),
});
export const Ticket = z.strictObject({
	ticket: z.string().describe("To be sent as `?ticket=`."),
	scope: TicketScope,
	expires: z.int().describe("Seconds since 1970."),
});

export async function makeTicket(c: C): Promise<Response> {
	const { scope } = await bodyOf(c, NewTicket);
	const { caller } = c.var;
	if (!may(caller, scope)) throw forbidden(scope);
	if (caller.owner === null && !needsNoKey(c)) throw noTicket();
	const ticket = await signTicket(c.env, caller.owner, scope);
	const expires = Math.ceil(Date.now() / 1000 + settingsOf(c.env).TICKET_SECONDS);
	return c.json({ ticket, scope, expires }, 201, { "cache-control": "no-store" });
}

async function bodyOf<T>(c: C, schema: z.ZodType<T>): Promise<T> {
	const body = await readJson(c.req.raw, MAX_REQUEST_BYTES, settingsOf(c.env).BODY_SECONDS);
	const parsed = schema.safeParse(body, { reportInput: true });
	if (!parsed.success) throw invalidInput(parsed.error);
	return parsed.data;
}

const now = (): number => Math.floor(Date.now() / 1000);
