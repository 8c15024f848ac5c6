/** The index of free slots against a look at every worker, which it stands for. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { FreeSlots } from "../../worker/edge/pool/choose.ts";
import type { Entry } from "../../worker/edge/pool/ledger.ts";
import type { Member } from "../../worker/edge/pool/roster.ts";

const DIGESTS = ["d0", "d1"];
const NUMERICS = ["n0", "n1", "n2"];
const NEEDS = ["png", "webp", "until"];
const NOW = 1000;

const worker = fc.record({
	free: fc.integer({ min: -1, max: 4 }),
	numerics: fc.array(fc.constantFrom(...NUMERICS, null), { minLength: 2, maxLength: 2 }),
	capabilities: fc.subarray(NEEDS),
});
const entry = fc.record({
	digest: fc.constantFrom(...DIGESTS),
	numerics: fc.constantFrom(...NUMERICS, null),
	last: fc.constantFrom("w0", "w1", null),
	needs: fc.subarray(NEEDS),
	returned: fc.constantFrom(0, NOW - 10),
});

function memberOf(i: number, { numerics, capabilities }: { numerics: (string | null)[]; capabilities: string[] }) {
	const offers = new Map<string, string>();
	for (const [at, id] of numerics.entries()) if (id !== null) offers.set(DIGESTS[at], id);
	return {
		seat: { session: `s${i}` },
		hello: { worker: `w${i}` },
		offers,
		capabilities: new Set(capabilities),
		abilities: capabilities.join(" "),
	} as unknown as Member;
}

/** Of the least rank: the same numerics first, then not the one that had it last, then most free. */
function rankOf({ numerics, last, digest }: Entry, member: Member, free: number): number {
	const same = numerics === null || member.offers.get(digest) === numerics;
	return (same ? 0 : 10_000) + (member.hello.worker === last ? 1000 : 0) - free;
}

it("chooses as a look at every worker would, after any changes", () => {
	fc.assert(
		fc.property(
			fc.array(worker, { maxLength: 8 }),
			fc.array(fc.record({ which: fc.nat(7), free: fc.integer({ min: -1, max: 4 }) }), { maxLength: 20 }),
			entry,
			(workers, changes, drawn) => {
				const entry = drawn as unknown as Entry;
				const slots = new FreeSlots();
				const members = workers.map((each, i) => memberOf(i, each));
				const free = workers.map(({ free }) => free);
				for (const [i, member] of members.entries()) slots.put(member, free[i]);
				for (const change of changes.filter(({ which }) => which < members.length)) {
					free[change.which] = change.free;
					if (change.free < 0) slots.remove(`s${change.which}`);
					else slots.put(members[change.which], change.free);
				}
				const able = members.flatMap((member, i) =>
					free[i] > 0 && member.offers.has(entry.digest) && entry.needs.every((need) => member.capabilities.has(need))
						? [{ member, rank: rankOf(entry, member, free[i]) }]
						: [],
				);
				const best = Math.min(...able.map(({ rank }) => rank));
				const chosen = slots.choose(entry, { now: NOW, patience: 100 });
				expect(slots.has(entry.digest)).toBe(
					members.some((member, i) => free[i] > 0 && member.offers.has(entry.digest)),
				);
				expect(slots.of(entry.digest, entry.needs)).toBe(
					able.reduce((sum, { member }) => sum + free[members.indexOf(member)], 0),
				);
				if (able.length === 0) expect(chosen).toBe(null);
				else if (best >= 5000 && NOW < entry.returned + 100) expect(chosen).toBe(entry.returned + 100);
				else {
					const i = members.indexOf(chosen as Member);
					expect(rankOf(entry, members[i], free[i])).toBe(best);
				}
			},
		),
		{ numRuns: 500 },
	);
});
