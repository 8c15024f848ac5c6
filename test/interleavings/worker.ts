/** A worker's process: what it has in hand outlives its connection, but not itself. */
import { type Lease, VERSIONS } from "../../worker/protocol/messages.ts";
import type { Link, World } from "./world.ts";

export const SLOTS = 2;

/** A lease, and how many of its plan's scales are there. */
export interface Held {
	lease: Lease;
	next: number;
}

export class Worker {
	readonly name: string;
	link: Link | null = null;
	hand: Held[] = [];
	/** It stands still: hears nothing, says nothing. */
	hung = false;
	/** Told for good that it may not stay: an older process of its name, or one that spoke nonsense. */
	refused = false;
	#lives = 0;
	/** Whether something was in hand when it was told last. */
	#busy = false;
	#told = Number.NEGATIVE_INFINITY;
	readonly #world: World;
	readonly #leased: (lease: Lease) => void;

	constructor(name: string, world: World, leased: (lease: Lease) => void) {
		this.name = name;
		this.#world = world;
		this.#leased = leased;
	}

	get there(): boolean {
		return this.link?.open === true && !this.hung;
	}

	async dial(): Promise<void> {
		if (this.hung || this.link?.open) return;
		if (this.refused) this.die();
		this.link = await this.#world.dial(this.name);
		const { model } = this.#world;
		this.link.send({
			type: "hello",
			versions: VERSIONS,
			worker: this.name,
			instance: `${this.name} ${this.#lives}`,
			holding: this.#holding(),
			adapter: { name: "Test adapter", software: true, runtime: "node", driver: "test 1" },
			models: [{ info: model, numerics: "numerics-1" }],
			slots: SLOTS,
		});
	}

	/** Hears what came, and says what it has in hand when its time has come. */
	live(): void {
		if (this.hung || !this.link) return;
		for (const message of this.link.take()) {
			if (message.type === "lease") {
				this.#leased(message);
				this.hand.push({ lease: message, next: message.codes.length });
			} else if (message.type === "refused") this.refused = true;
			else if (message.type === "cancel") {
				const { job, attempt } = message;
				const held = this.hand.find(({ lease }) => lease.job === job && lease.attempt === attempt);
				if (held) this.release(held, "done");
				else this.link.send({ type: "release", job, attempt, outcome: "done", reason: "" });
			}
		}
		if (!this.link.open) this.link = null;
		else if (this.#world.now() - this.#told >= this.#world.times.heartbeat / 2) {
			this.#told = this.#world.now();
			// Empty hands are told once.
			const holding = this.#holding();
			if (holding.length > 0 || this.#busy) this.link.send({ type: "heartbeat", holding });
			this.#busy = holding.length > 0;
		}
	}

	release({ lease }: Held, outcome: "done" | "handed-back", cause: "failed" | "preempted" = "failed"): void {
		this.hand = this.hand.filter((held) => held.lease !== lease);
		const { job, attempt } = lease;
		this.link?.send({ type: "release", job, attempt, outcome, cause, reason: "" });
	}

	/** The process ends, and another one takes its name; what it had in hand is lost. */
	die(): Held[] {
		const lost = this.hand;
		this.link?.cut();
		[this.link, this.hand, this.hung, this.refused] = [null, [], false, false];
		this.#lives += 1;
		return lost;
	}

	/** A newer process of its name dials while this one is there; the two go on as one, with the new one's hands. */
	async twin(): Promise<{ older: Link | null; lost: Held[] }> {
		const [older, lost] = [this.link, this.hand];
		[this.link, this.hand] = [null, []];
		this.#lives += 1;
		await this.dial();
		return { older, lost };
	}

	#holding() {
		return this.hand.map(({ lease: { job, attempt } }) => ({ job, attempt }));
	}
}
