/**
 * Tickets: what an EventSource, which cannot send a header, brings in its address in place of a key. Good for minutes
 * and for one scope.
 */
import { z } from "zod";
import { Scope } from "../../protocol/api-key.ts";
import { wrongKey } from "../admission/refusals.ts";
import type { Owner } from "../objects.ts";
import { type Env, settingsOf } from "../settings.ts";
import { readClaims, signClaims } from "./claims.ts";

/** Keys, workers and metrics are nothing for an address. */
export const TicketScope = Scope.exclude(["admin"]);
export type TicketScope = z.infer<typeof TicketScope>;

const Claims = z.object({ sub: z.string().max(64), scope: TicketScope });
const MAX_CHARS = 1024;

export async function signTicket(env: Env, owner: Owner, scope: TicketScope): Promise<string> {
	return signClaims(env, "ticket", { sub: owner ?? "", scope }, settingsOf(env).TICKET_SECONDS);
}

/** Throws a 401 for one that is not good. */
export async function ticketOf(env: Env, ticket: string): Promise<{ owner: Owner; scope: TicketScope }> {
	const claims = ticket.length > MAX_CHARS ? null : await readClaims(env, "ticket", ticket);
	const parsed = Claims.safeParse(claims);
	if (!parsed.success) throw wrongKey();
	return { owner: parsed.data.sub === "" ? null : parsed.data.sub, scope: parsed.data.scope };
}
