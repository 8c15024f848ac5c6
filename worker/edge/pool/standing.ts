/** Where a job stands, and how long one would take that comes now: by what is before it, and its workers' pace. */
import type { Outlook, Standing } from "../objects.ts";
import type { Entry, Ledger } from "./ledger.ts";
import type { Paces } from "./pace.ts";
import type { Member, Roster } from "./roster.ts";

export interface Books {
	ledger: Ledger;
	roster: Roster;
	paces: Paces;
}

export function standingOf(entry: Entry, books: Books): Standing {
	const { digest, held, cost } = entry;
	if (held) {
		const pace = books.paces.of(held.worker, digest) ?? books.paces.among(workersOf(digest, books), digest);
		return { ahead: null, milliseconds: pace === null ? null : left(entry, pace) };
	}
	const queue = books.ledger.waiting(digest);
	const ahead = queue.indexOf(entry);
	const { pace, wait } = progress(queue.slice(0, ahead), digest, books);
	return { ahead, milliseconds: pace === null || wait === null ? null : wait + cost * pace };
}

/** For a job that is not there yet. `taken`: a worker's slots that are. */
export function outlookOf(digest: string, books: Books, taken: (member: Member) => number): Outlook {
	const waiting = books.ledger.waiting(digest);
	let [next, most]: [Member | null, number] = [null, 0];
	for (const member of books.roster.offering(digest)) {
		const free = member.seat.draining ? 0 : member.hello.slots - taken(member);
		if (free > most) [next, most] = [member, free];
	}
	const { pace, wait } = progress(waiting, digest, books);
	if (next === null || waiting.length > 0) return { waiting: waiting.length, pace, waitMs: wait };
	const its = books.paces.of(next.hello.worker, digest) ?? pace;
	return { waiting: 0, pace: its, waitMs: its === null ? null : 0 };
}

/** Milliseconds a unit of cost, and until all of these and what is in hand is done; null where nothing was measured. */
function progress(
	before: readonly Entry[],
	digest: string,
	books: Books,
): { pace: number | null; wait: number | null } {
	const pace = books.paces.among(workersOf(digest, books), digest);
	if (pace === null) return { pace, wait: null };
	let [slots, milliseconds] = [0, 0];
	for (const { seat, hello } of books.roster.offering(digest)) {
		if (!seat.draining) slots += hello.slots;
		for (const held of books.ledger.heldBy(seat.session)) milliseconds += left(held, pace);
	}
	for (const { cost } of before) milliseconds += cost * pace;
	return { pace, wait: slots === 0 ? null : milliseconds / slots };
}

const workersOf = (digest: string, { roster }: Books): string[] =>
	Array.from(roster.offering(digest), ({ hello }) => hello.worker);

const left = ({ cost, held }: Entry, pace: number): number =>
	Math.max(0, cost * pace - (held ? Date.now() - held.granted : 0));
