/** Which worker a job goes to. */
import type { Entry } from "./ledger.ts";
import type { Member } from "./roster.ts";

/**
 * The best of the workers with a free slot; null where none has one, and a time where a better one is waited for until
 * then. The same numerics id continues bit for bit, so it is waited for; the worker that had the job last is the last
 * resort; then the job goes where most is free.
 */
export function chooseMember(
	entry: Entry,
	members: Iterable<Member>,
	free: (member: Member) => number,
	{ now, patience }: { now: number; patience: number },
): Member | number | null {
	let best: Member | null = null;
	let bestRank = Number.POSITIVE_INFINITY;
	for (const member of members) {
		const slots = free(member);
		if (slots <= 0) continue;
		const rank = (sameNumerics(entry, member) ? 0 : 10_000) + (member.hello.worker === entry.last ? 1000 : 0) - slots;
		if (rank < bestRank) [best, bestRank] = [member, rank];
	}
	if (best && !sameNumerics(entry, best) && now < entry.returned + patience) return entry.returned + patience;
	return best;
}

/** Also where nobody has begun it. */
function sameNumerics({ numerics, digest }: Entry, member: Member): boolean {
	return numerics === null || member.offers.get(digest) === numerics;
}
