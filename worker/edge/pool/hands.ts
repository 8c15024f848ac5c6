/** What workers have in hand: let go by them, or taken away, and what they say of it. */
import type { Holding, Made, WorkerMessage } from "../../protocol/messages.ts";
import { log } from "../log.ts";
import type { Entry, Lent } from "./ledger.ts";
import type { Member } from "./roster.ts";
import { beats, type Shared } from "./shared.ts";

export class Hands {
	/** Bytes of device memory by worker, as it said last. */
	readonly memory = new Map<string, number>();
	readonly #shared: Shared;

	constructor(shared: Shared) {
		this.#shared = shared;
	}

	/** A worker lets go of a lease. */
	async release(
		member: Member,
		{ job, attempt, outcome, cause, reason, made }: Extract<WorkerMessage, { type: "release" }>,
	): Promise<void> {
		const { seat, socket, hello } = member;
		const its = (held: Holding) => held.job === job && held.attempt === attempt;
		this.#letGo(member, its);
		const entry = this.#shared.ledger.get(job);
		// An old attempt, or one that has gone to another worker meanwhile, has been let go by now.
		if (entry?.held?.session === seat.session && entry.attempt === attempt) {
			if (made) this.memory.set(entry.held.worker, made.memory);
			if (outcome === "handed-back") log("lease handed back", { job, attempt, worker: hello.worker, cause, reason });
			// "Done" with the picture missing would leave its readers waiting for ever.
			const ended = await this.#shared.dispatcher.lost(entry as Lent, cause);
			if (made && ended === "done") this.#made(entry as Lent, made);
			// The job was asked in between: what was cancelled then counts as in a hand that is empty, and says so no more.
			const now = this.#shared.roster.member(seat.session);
			if (now) this.#letGo(now, its);
		}
		if (this.#shared.roster.member(seat.session)?.socket === socket) this.#shared.dispatcher.fill(member);
	}

	/** A finished picture is one line, and one of each metric. */
	#made({ job, attempt, queued, held }: Lent, made: Made): void {
		const { tally } = this.#shared.dispatcher;
		const waited = held.granted - queued;
		tally.count("firstlight_pictures_total", { policy: made.policy });
		if (made.first !== null && attempt === 1)
			tally.observe("firstlight_first_preview_seconds", (waited + made.first) / 1000);
		for (const [scale, milliseconds] of made.scales)
			tally.observe("firstlight_scale_seconds", milliseconds / 1000, { scale });
		log("picture", {
			job,
			attempt,
			worker: held.worker,
			policy: made.policy,
			request: made.requestId,
			traceparent: made.traceparent,
			waited,
			first: made.first,
			milliseconds: made.whole,
		});
	}

	/**
	 * A heartbeat names the jobs in hand. One that it should hold and does not is lost; leases that it was just given, or
	 * came back with, may have crossed it.
	 */
	reconcile(member: Member, holding: readonly Holding[]): void {
		const holds = ({ job, attempt }: Holding) => holding.some((held) => held.job === job && held.attempt === attempt);
		const before = Date.now() - beats(this.#shared.settings, 2);
		for (const entry of [...this.#shared.ledger.heldBy(member.seat.session)])
			if (entry.attempt > 0 && Math.max(entry.held.granted, entry.held.adopted) < before && !holds(entry))
				this.#shared.later(this.#shared.dispatcher.lost(entry, "failed"));
		if (this.#letGo(member, (held) => !holds(held))) this.#shared.dispatcher.fill(member);
	}

	#letGo(member: Member, gone: (held: Holding) => boolean): boolean {
		const stale = member.seat.stale.filter((held) => !gone(held));
		if (stale.length === member.seat.stale.length) return false;
		this.#shared.roster.change(member.socket, { stale });
		return true;
	}

	/** Stops a job where it runs. It counts as in that worker's hand until the worker says otherwise. */
	takeAway({ job, attempt, held }: Entry, stuck: boolean): void {
		const member = held && attempt > 0 ? this.#shared.roster.member(held.session) : undefined;
		if (!member) return;
		this.#shared.roster.change(member.socket, { stale: [...member.seat.stale, { job, attempt, stuck }] });
		this.#shared.roster.send(member.socket, { type: "cancel", job, attempt });
	}
}
