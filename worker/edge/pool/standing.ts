/** Where a job stands, and how long one would take that comes now: by what is before it, and its workers' pace. */
import type { Outlook, Standing } from "../objects.ts";
import type { Entry, Ledger } from "./ledger.ts";
import type { Paces } from "./pace.ts";
import type { Member, Roster } from "./roster.ts";

export interface Books {
	ledger: Ledger;
	roster: Roster;
	paces: Paces;
	/** All workers of a model taken together, by digest; counted again after so many milliseconds. */
	crews: Map<string, Crew>;
	recountMs: number;
}

interface Crew {
	at: number;
	/** The mean of its workers'; null where nothing was measured. */
	pace: number | null;
	/** Of those that take leases. */
	slots: number;
	/** Milliseconds until what they have in hand is done. */
	inHand: number;
	/** Until the first of it leaves a slot for another; null where nothing will. */
	next: number | null;
}

export function standingOf(entry: Entry, books: Books): Standing {
	const { digest, held, cost } = entry;
	if (held) {
		const pace = books.paces.of(held.worker, digest) ?? crewOf(digest, books).pace;
		return { ahead: null, milliseconds: pace === null ? null : left(entry, pace) };
	}
	const queue = books.ledger.waiting(digest);
	const ahead = queue.indexOf(entry);
	const { pace, wait } = progress(queue.slice(0, ahead), digest, books);
	return { ahead, milliseconds: pace === null || wait === null ? null : wait + cost * pace };
}

/** For a job that is not there yet. `slotsOf`: a worker's that are free. */
export function outlookOf(digest: string, books: Books, slotsOf: (member: Member) => number): Outlook {
	const waiting = books.ledger.waiting(digest);
	let [next, most, free]: [Member | null, number, number] = [null, 0, 0];
	for (const member of books.roster.offering(digest)) {
		const its = Math.max(0, slotsOf(member));
		free += its;
		if (its > most) [next, most] = [member, its];
	}
	const { pace, wait } = progress(waiting, digest, books);
	const nextMs = crewOf(digest, books).next;
	if (next === null || waiting.length > 0) return { waiting: waiting.length, free, pace, waitMs: wait, nextMs };
	const its = books.paces.of(next.hello.worker, digest) ?? pace;
	return { waiting: 0, free, pace: its, waitMs: its === null ? null : 0, nextMs };
}

/** Milliseconds a unit of cost, and until all of these and what is in hand is done; null where nothing was measured. */
function progress(
	before: readonly Entry[],
	digest: string,
	books: Books,
): { pace: number | null; wait: number | null } {
	const { pace, slots, inHand } = crewOf(digest, books);
	if (pace === null) return { pace, wait: null };
	const milliseconds = before.reduce((sum, { cost }) => sum + cost * pace, inHand);
	return { pace, wait: slots === 0 ? null : milliseconds / slots };
}

function crewOf(digest: string, books: Books): Crew {
	const now = Date.now();
	const kept = books.crews.get(digest);
	if (kept && now - kept.at < books.recountMs) return kept;
	const pace = books.paces.among(workersOf(digest, books), digest);
	const crew: Crew = { at: now, pace, slots: 0, inHand: 0, next: null };
	for (const { seat, hello } of books.roster.offering(digest)) {
		if (!seat.draining) crew.slots += hello.slots;
		if (pace === null) continue;
		for (const held of books.ledger.heldBy(seat.session)) {
			const rest = left(held, pace);
			crew.inHand += rest;
			if (!seat.draining) crew.next = Math.min(crew.next ?? rest, rest);
		}
	}
	books.crews.set(digest, crew);
	return crew;
}

const workersOf = (digest: string, { roster }: Books): string[] =>
	Array.from(roster.offering(digest), ({ hello }) => hello.worker);

const left = ({ cost, held }: Entry, pace: number): number =>
	Math.max(0, cost * pace - (held ? Date.now() - held.granted : 0));
