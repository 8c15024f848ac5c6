/** Where a job stands: how many are before it, and how long they and it will take. */
import type { Standing } from "../objects.ts";
import type { Entry, Ledger } from "./ledger.ts";
import type { Paces } from "./pace.ts";
import type { Roster } from "./roster.ts";

export function standingOf(entry: Entry, ledger: Ledger, roster: Roster, paces: Paces): Standing {
	const { digest, held, cost } = entry;
	const members = [...roster.offering(digest)];
	const among = paces.among(
		members.map(({ hello }) => hello.worker),
		digest,
	);
	if (held) {
		const pace = paces.of(held.worker, digest) ?? among;
		return { ahead: null, milliseconds: pace === null ? null : Math.max(0, cost * pace - (Date.now() - held.granted)) };
	}
	const queue = ledger.waiting(digest);
	const ahead = queue.indexOf(entry);
	const slots = members.reduce((sum, { hello, seat }) => sum + (seat.draining ? 0 : hello.slots), 0);
	if (among === null || slots === 0) return { ahead, milliseconds: null };
	const before = queue.slice(0, ahead).reduce((sum, other) => sum + other.cost, 0);
	const now = Date.now();
	const inHand = members
		.flatMap(({ seat }) => [...ledger.heldBy(seat.session)])
		.reduce((sum, other) => sum + Math.max(0, other.cost * among - (now - other.held.granted)), 0);
	return { ahead, milliseconds: (before * among + inHand) / slots + cost * among };
}
