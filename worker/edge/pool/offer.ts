/** What a pool offers, and which version of a model a new job gets. */
import type { Offered, PoolOffer, Version, WorkerStatus } from "../objects.ts";
import { able } from "./choose.ts";
import type { Ledger } from "./ledger.ts";
import { infoOf, type Member, type Roster } from "./roster.ts";
import type { Sample } from "./tally.ts";

/** Versions of models that are offered by workers which take leases, counted again when one came, went or drains. */
export class Offers {
	readonly #roster: Roster;
	#edition = -1;
	#versions: readonly Version[] = [];
	/** What workers of a model can do, each combination once. */
	readonly #abilities = new Map<string, ReadonlySet<string>[]>();

	constructor(roster: Roster) {
		this.#roster = roster;
	}

	/** In the order they came. */
	versions(): readonly Version[] {
		this.#count();
		return this.#versions;
	}

	/** Whether any worker, draining or not, offers a model and can do all of this. */
	able(digest: string, needs: readonly string[]): boolean {
		this.#count();
		return (this.#abilities.get(digest) ?? []).some((capabilities) => able(capabilities, needs));
	}

	/** Slots of all workers that take leases, offer a model and can do all of this. */
	slots(digest: string, needs: readonly string[]): number {
		let slots = 0;
		for (const { seat, hello, capabilities } of this.#roster.offering(digest))
			if (!seat.draining && able(capabilities, needs)) slots += hello.slots;
		return slots;
	}

	#count(): void {
		if (this.#edition === this.#roster.edition) return;
		this.#edition = this.#roster.edition;
		this.#versions = versionsOf(this.#roster);
		this.#abilities.clear();
		for (const digest of this.#roster.digests()) {
			const members = [...this.#roster.offering(digest)];
			const distinct = new Map(members.map(({ abilities, capabilities }) => [abilities, capabilities]));
			this.#abilities.set(digest, [...distinct.values()]);
		}
	}
}

function versionsOf(roster: Roster): Version[] {
	const versions: Version[] = [];
	for (const digest of roster.digests()) {
		let first: Member | undefined;
		let slots = 0;
		const numerics = new Set<string>();
		for (const member of roster.offering(digest)) {
			if (member.seat.draining) continue;
			first ??= member;
			slots += member.hello.slots;
			numerics.add(member.offers.get(digest)!);
		}
		if (first) versions.push({ info: infoOf(first, digest), since: first.since, slots, numerics: [...numerics] });
	}
	return versions;
}

/** The same by model. */
export function modelsOf(versions: readonly Offered[]): PoolOffer["models"] {
	const models = new Map<string, PoolOffer["models"][number]>();
	for (const version of versions) {
		const { info, since } = version;
		const model = models.get(info.id);
		if (model) model.versions.push(version);
		else models.set(info.id, { info, since, versions: [version] });
	}
	return [...models.values()];
}

/**
 * The version of a model that a new job gets: one of several in proportion to what an operator gave it, or else to its
 * workers' slots. `draw` is from 0 up to 1.
 */
export function drawVersion<V extends Version>(
	versions: readonly V[],
	weights: Readonly<Record<string, number>>,
	draw: number,
): V {
	const weigh = ({ info, slots }: Version) => weights[info.digest] ?? slots;
	const all = versions.reduce((sum, version) => sum + weigh(version), 0);
	let rest = draw * all;
	// Where all weigh nothing, an old version is better than none.
	return versions.find((version) => weigh(version) > 0 && (rest -= weigh(version)) < 0) ?? versions[0];
}

export function statusOf({ hello, seat }: Member, busy: number): WorkerStatus {
	return {
		worker: hello.worker,
		adapter: hello.adapter,
		models: hello.models.map(({ info, numerics }) => ({ id: info.id, digest: info.digest, numerics })),
		busy,
		slots: hello.slots,
		draining: seat.draining,
	};
}

/** What is true now, for `/metrics`. */
export function samplesOf(
	ledger: Pick<Ledger, "queued">,
	roster: Roster,
	memory: ReadonlyMap<string, number>,
	busy: (member: Member) => number,
): Sample[] {
	const samples: Sample[] = [{ name: "firstlight_queue", labels: {}, value: ledger.queued }];
	for (const member of roster.members()) {
		const { worker, adapter, slots } = member.hello;
		const labels = { worker, adapter: adapter.name, software: adapter.software, draining: member.seat.draining };
		samples.push(
			{ name: "firstlight_worker_busy", labels, value: busy(member) },
			{ name: "firstlight_worker_slots", labels, value: slots },
		);
		const bytes = memory.get(worker);
		if (bytes !== undefined) samples.push({ name: "firstlight_worker_device_bytes", labels: { worker }, value: bytes });
	}
	return samples;
}
