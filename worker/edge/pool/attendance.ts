/** Workers that come and go: who is let in, whose connection is lost, who is silent. */
import type { Hello, Holding } from "../../protocol/messages.ts";
import { workerIn } from "../auth/worker-token.ts";
import { log } from "../log.ts";
import type { Hands } from "./hands.ts";
import type { LoadingWorkers } from "./loading.ts";
import type { Returns } from "./returns.ts";
import type { Member } from "./roster.ts";
import { commonVersion } from "./seat.ts";
import { beats, type Shared } from "./shared.ts";

const REVOKED = "it was revoked; whoever runs this edge can admit it again";

/** Of a close: not the worker's fault, and not for good. */
const TOKEN_ENDED = 4001;

const secondsTo = (time: number): number => Math.max(0, (time - Date.now()) / 1000);

export class Attendance {
	readonly #shared: Shared;
	readonly #hands: Hands;
	readonly #returns: Returns;
	readonly #loading: LoadingWorkers;
	/** When silent workers were looked for last, and when those found so were last heard, by session. */
	#swept = 0;
	readonly #suspects = new Map<string, number>();

	constructor(shared: Shared, hands: Hands, returns: Returns, loading: LoadingWorkers) {
		this.#shared = shared;
		this.#hands = hands;
		this.#returns = returns;
		this.#loading = loading;
	}

	/** Whether somebody's silence has to be looked into. */
	get suspicious(): boolean {
		return this.#suspects.size > 0;
	}

	/** Whether there is anything to look after. */
	watching(): boolean {
		return this.#shared.ledger.size > 0 || this.suspicious || this.#shared.roster.strangers > 0;
	}

	/** Whether a name is let in from now on. One that is revoked is dropped at once. */
	judge(worker: string, revoked: boolean): void {
		this.#shared.roster.judge(worker, revoked);
		if (!revoked) return;
		for (const { hello, socket } of [...this.#shared.roster.members()])
			if (hello.worker === worker) this.refuse(socket, REVOKED, true);
	}

	/** Lets in, or says why not, and gives back to one that is here again what is still its own. */
	admit(socket: WebSocket, hello: Hello): void {
		const { worker, instance } = hello;
		const { named, until } = this.#shared.roster.seat(socket);
		const stranger = named !== worker && `its token is for ${named}, not for ${worker}`;
		const problem = stranger || (this.#shared.roster.revoked.has(worker) && REVOKED);
		if (problem) {
			this.refuse(socket, problem);
			return;
		}
		const other = this.#shared.roster.named(worker);
		if (other) {
			if (other.hello.instance === instance) this.drop(other.socket, 1000, "replaced by a newer connection", true);
			else this.refuse(other.socket, `replaced by a newer process with the name ${worker}`);
		}
		this.#loading.forget(worker);
		const member = this.#shared.roster.admit(socket, hello);
		this.#returns.came();
		this.#shared.roster.send(socket, {
			type: "welcome",
			version: commonVersion(hello.versions)!,
			heartbeatSeconds: this.#shared.settings.HEARTBEAT_SECONDS,
			renewSeconds: secondsTo(until),
		});
		this.#readopt(member, hello.holding);
		log("worker admitted", {
			worker,
			adapter: hello.adapter.name,
			software: hello.adapter.software,
			models: hello.models.map(({ info }) => info.id),
		});
		this.#shared.dispatcher.fill(member);
	}

	/** Takes a worker's new token, before the one that it came with ends. */
	async renew({ socket, hello, seat }: Member, token: string): Promise<void> {
		const known = await workerIn(this.#shared.env, token);
		if (this.#shared.roster.member(seat.session)?.socket !== socket) return;
		if (known?.worker !== hello.worker) return this.refuse(socket, `its new token is no good one for ${hello.worker}`);
		this.#shared.roster.change(socket, { until: known.until });
		this.#shared.roster.send(socket, { type: "renewed", renewSeconds: secondsTo(known.until) });
	}

	/** What a worker that is back still has in hand stays its own, unless it went to another meanwhile. */
	#readopt(member: Member, holding: readonly Holding[]): void {
		const { worker, instance } = member.hello;
		const stale: Holding[] = [];
		for (const held of holding) {
			const entry = this.#shared.ledger.get(held.job);
			const numerics = entry && member.offers.get(entry.digest);
			const its = entry?.held ? entry.held.instance === instance : entry?.last === worker;
			const moves = this.#shared.ledger.moving.has(held.job);
			if (entry && its && !moves && entry.attempt === held.attempt && numerics !== undefined)
				this.#shared.ledger.adopt(entry, { session: member.seat.session, worker, instance, numerics });
			else stale.push(held);
		}
		this.#shared.roster.change(member.socket, { stale: stale.map((held) => ({ ...held, stuck: false })) });
		for (const held of stale) this.#shared.roster.send(member.socket, { ...held, type: "cancel" });
		// A process that begins anew has nothing of the one before; one that is back has let go of the rest.
		for (const entry of this.#shared.ledger.missed(worker))
			this.#shared.later(this.#shared.dispatcher.lost(entry, "failed"));
	}

	/** For good. `disowned`: with what it still delivers. */
	refuse(socket: WebSocket, reason: string, disowned = false): void {
		log("worker refused", { worker: this.#shared.roster.seat(socket).worker, reason });
		this.#shared.roster.send(socket, { type: "refused", reason });
		this.drop(socket, 1008, reason, false, disowned);
	}

	/** Closes a socket. A worker that may be back keeps its jobs for a moment; those of one that is gone go to others. */
	drop(socket: WebSocket, code: number, reason: string, back: boolean, disowned = false): void {
		const { session } = this.#shared.roster.seat(socket);
		try {
			socket.close(code, reason.slice(0, 100));
		} catch {
			// It is closed already.
		}
		if (back && this.#shared.roster.member(session)) this.#returns.left();
		this.#shared.roster.forget(session);
		this.#suspects.delete(session);
		this.#hands.memory.delete(this.#shared.roster.seat(socket).worker ?? "");
		const now = Date.now();
		for (const entry of [...this.#shared.ledger.heldBy(session)]) {
			if (entry.attempt === 0) this.#shared.dispatcher.takeBack(entry, null);
			else if (back) this.#shared.ledger.miss(entry, now);
			else this.#shared.later(this.#shared.dispatcher.lost(entry, "failed", disowned));
			this.#shared.dispatcher.dispatch(entry.digest);
		}
		if (this.watching()) this.#shared.alarm.by(now + this.#shared.settings.REJOIN_SECONDS * 1000);
	}

	/**
	 * Drops workers whose token has ended, which keep their pictures if they are back with another, and those that were
	 * silent for three heartbeats, and for one more since that was seen: where all is late, what they said may be on its
	 * way. Looks no oftener than once a heartbeat.
	 */
	sweep(): void {
		const time = Date.now();
		if (time - this.#swept < beats(this.#shared.settings, 1)) return;
		this.#swept = time;
		for (const socket of this.#shared.roster.sockets()) {
			const { session, worker, seen, until } = this.#shared.roster.seat(socket);
			if (time > until) {
				log("worker's token ended", { worker });
				this.drop(socket, TOKEN_ENDED, "its token has ended; register and dial again", true);
				continue;
			}
			// Pings count once it has said who it is.
			const heard = worker === null ? seen : this.#shared.roster.lastHeard(socket);
			const suspected = this.#suspects.get(session) === heard;
			this.#suspects.delete(session);
			if (time - heard <= beats(this.#shared.settings, 3)) continue;
			if (suspected) {
				log("worker silent", { worker });
				this.drop(socket, 1008, "no heartbeat", false);
			} else this.#suspects.set(session, heard);
		}
	}
}
