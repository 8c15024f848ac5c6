/** Which worker a job goes to, chosen without a look at all of them. */
import type { Entry } from "./ledger.ts";
import type { Member } from "./roster.ts";

/** Workers that can do the same and would make the same bits of a model, by the number of their free slots. */
interface Group {
	numerics: string;
	capabilities: ReadonlySet<string>;
	/** At index n: those with n free slots, the one that waits longest first. */
	byFree: Set<Member>[];
}

/** Workers with a free slot, by model, numerics id and what they can do. */
export class FreeSlots {
	readonly #groups = new Map<string, Map<string, Group>>();
	/** Under how many free slots each stands here, by session. */
	readonly #places = new Map<string, { member: Member; free: number }>();

	/** A worker has so many free slots now; none or less, and it is left out. */
	put(member: Member, free: number): void {
		const { session } = member.seat;
		const before = this.#places.get(session);
		if (before?.free === free) return;
		this.remove(session);
		if (free <= 0) return;
		this.#places.set(session, { member, free });
		for (const digest of member.offers.keys()) (this.#group(digest, member).byFree[free] ??= new Set()).add(member);
	}

	remove(session: string): void {
		const place = this.#places.get(session);
		if (!place) return;
		this.#places.delete(session);
		for (const digest of place.member.offers.keys()) {
			const { byFree } = this.#group(digest, place.member);
			byFree[place.free].delete(place.member);
			while (byFree.length > 0 && !byFree[byFree.length - 1]?.size) byFree.pop();
			if (byFree.length > 0) continue;
			const groups = this.#groups.get(digest)!;
			groups.delete(keyOf(digest, place.member));
			if (groups.size === 0) this.#groups.delete(digest);
		}
	}

	/** Whether any worker has a free slot for a model. */
	has(digest: string): boolean {
		return this.#groups.has(digest);
	}

	/** How many of them there are for what a job needs. */
	of(digest: string, needs: readonly string[]): number {
		let slots = 0;
		for (const { capabilities, byFree } of this.#groups.get(digest)?.values() ?? [])
			if (able(capabilities, needs)) byFree.forEach((members, free) => void (slots += free * members.size));
		return slots;
	}

	/**
	 * The best of the workers with a free slot that can do it; null where there is none, and a time where a better one
	 * is waited for until then. The same numerics id continues bit for bit, so it is waited for; the worker that had the
	 * job last is the last resort; then the job goes where most is free.
	 */
	choose(entry: Entry, { now, patience }: { now: number; patience: number }): Member | number | null {
		let best: Member | null = null;
		let bestRank = Number.POSITIVE_INFINITY;
		let same = false;
		for (const { numerics, capabilities, byFree } of this.#groups.get(entry.digest)?.values() ?? []) {
			if (!able(capabilities, entry.needs)) continue;
			// Also where nobody has begun it.
			const its = entry.numerics === null || entry.numerics === numerics;
			for (const [member, free] of fullest(byFree)) {
				const last = member.hello.worker === entry.last;
				const rank = (its ? 0 : 10_000) + (last ? 1000 : 0) - free;
				if (rank < bestRank) [best, bestRank, same] = [member, rank, its];
				// The next ones have no more.
				if (!last) break;
			}
		}
		if (best && !same && now < entry.returned + patience) return entry.returned + patience;
		return best;
	}

	#group(digest: string, member: Member): Group {
		let groups = this.#groups.get(digest);
		if (!groups) this.#groups.set(digest, (groups = new Map()));
		const key = keyOf(digest, member);
		let group = groups.get(key);
		if (!group) {
			const { capabilities, offers } = member;
			groups.set(key, (group = { numerics: offers.get(digest)!, capabilities, byFree: [] }));
		}
		return group;
	}
}

const keyOf = (digest: string, { offers, abilities }: Member): string => `${offers.get(digest)}\n${abilities}`;

/** Whether who can do these can do all that is needed. */
export const able = (capabilities: ReadonlySet<string>, needs: readonly string[]): boolean =>
	needs.every((need) => capabilities.has(need));

/** Those with most free slots first. */
function* fullest(byFree: readonly Set<Member>[]): Generator<[Member, number]> {
	for (let free = byFree.length - 1; free > 0; free--) for (const member of byFree[free] ?? []) yield [member, free];
}
