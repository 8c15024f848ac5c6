/** A GPU worker as the edge sees it: its messages, its deliveries, its times, and what can go wrong with it. */
import { createHash } from "node:crypto";
import { CAPABILITIES } from "../../../worker/protocol/capabilities.ts";
import type { Hello, Holding, Lease } from "../../../worker/protocol/messages.ts";
import { VERSIONS } from "../../../worker/protocol/messages.ts";
import type { ModelInfo } from "../../../worker/protocol/model-info.ts";
import { type StagePlan, settle } from "../../../worker/protocol/plan.ts";
import { one, type Random } from "../random.ts";
import type { VirtualClock } from "./clock.ts";
import type { ObjectHost, Socket } from "./objects.ts";
import type { Service } from "./simulate.ts";

/** Chances of one lease, each drawn once; what is left goes well. */
export interface Trouble {
	/** The process ends without a word at some scale, and comes back. */
	killed: number;
	/** Its socket closes; the process goes on and dials again. */
	dropped: number;
	/** It says nothing any more and makes nothing, for as long as it takes the edge to notice. */
	hung: number;
	/** It delivers an event twice. */
	doubled: number;
	/** An answer is lost: it delivers the event again. */
	unanswered: number;
}

export interface WorkerOptions {
	name: string;
	model: ModelInfo;
	service: ReturnType<Service>;
	/** Other workers that are at a picture now. */
	others(): number;
	trouble: Trouble;
	/** After it was killed: until it dials again, models loaded. */
	restartMs: number;
	/** A delivery's way, on average. */
	networkMs: number;
}

interface JobStub {
	deliver(attempt: number, event: object): Promise<{ go?: "on" | "stop"; refused?: string }>;
}

export class SimulatedWorker {
	/** Time spent on pictures, and of it on those that were thrown away. */
	busyMs = 0;
	wastedMs = 0;
	finished = 0;
	refused: string[] = [];
	readonly #options: WorkerOptions;
	readonly #clock: VirtualClock;
	readonly #host: ObjectHost;
	readonly #random: Random;
	#socket: Socket | null = null;
	#inHand = new Map<string, { attempt: number; stopped: boolean; since: number }>();
	#heartbeat: unknown;
	/** Of the process: what an older one began does not go on. */
	#life = 0;

	constructor(options: WorkerOptions, clock: VirtualClock, host: ObjectHost, random: Random) {
		this.#options = options;
		this.#clock = clock;
		this.#host = host;
		this.#random = random;
	}

	/** Time spent so far, on what is in hand too. */
	busyUntil(now: number): number {
		return [...this.#inHand.values()].reduce((sum, { since }) => sum + now - since, this.busyMs);
	}

	get busy(): boolean {
		return this.#inHand.size > 0;
	}

	/** Leaves for good, as after a drain. */
	leave(): void {
		this.#life += 1;
		clearInterval(this.#heartbeat as number);
		this.#socket?.close();
		this.#socket = null;
	}

	async dial(): Promise<void> {
		const life = this.#life;
		const socket = await this.#host.dial("POOL", "default", this.#options.name);
		if (life !== this.#life) return socket.close();
		this.#socket = socket;
		socket.onmessage = (data) => this.#receive(JSON.parse(data), life);
		socket.onclose = () => {
			if (socket !== this.#socket || life !== this.#life) return;
			this.#lost();
		};
		socket.send(JSON.stringify(this.#hello()));
	}

	/** The connection is gone: what is in hand goes on, and is named when it dials again. */
	#lost(): void {
		clearInterval(this.#heartbeat as number);
		this.#socket = null;
		const life = this.#life;
		setTimeout(() => life === this.#life && void this.dial(), 250 + this.#random() * 250);
	}

	#hello(): Hello {
		const { name, model } = this.#options;
		return {
			type: "hello",
			versions: VERSIONS,
			worker: name,
			instance: `${name} ${this.#life}`,
			holding: this.#holding(),
			adapter: { name: "simulated", software: false, runtime: "node", driver: "none" },
			models: [{ info: model, numerics: "simulated" }],
			slots: 1,
			capabilities: [...CAPABILITIES],
		};
	}

	#holding(): Holding[] {
		return [...this.#inHand].map(([job, { attempt }]) => ({ job, attempt }));
	}

	#receive(message: { type: string; heartbeatSeconds?: number; job?: string; attempt?: number }, life: number): void {
		if (life !== this.#life) return;
		if (message.type === "welcome") {
			clearInterval(this.#heartbeat as number);
			this.#heartbeat = setInterval(
				() => this.#send({ type: "heartbeat", holding: this.#holding() }),
				(message.heartbeatSeconds ?? 10) * 1000,
			);
		} else if (message.type === "lease") void this.#make(message as unknown as Lease, life);
		else if (message.type === "cancel") {
			const held = this.#inHand.get(message.job as string);
			if (held && held.attempt === message.attempt) held.stopped = true;
		}
	}

	#send(message: object): void {
		if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
	}

	async #make(lease: Lease, life: number): Promise<void> {
		const { trouble, networkMs, service, others: countOthers } = this.#options;
		const others = countOthers();
		const held = { attempt: lease.attempt, stopped: false, since: this.#clock.now };
		this.#inHand.set(lease.job, held);
		const way = service.way(others);
		if (way > 0) {
			await this.#clock.sleep(way);
			if (life !== this.#life) return;
			held.since = this.#clock.now;
		}
		const begun = this.#clock.now;
		const fate = this.#fate(trouble);
		const { seed } = lease.request;
		let { plan } = lease.request;
		let times = service.steps(plan, others);
		const at = one(this.#random, stepsOf(plan));
		const { grids } = this.#options.model.schedules[plan.schedule];
		const done = async (good: boolean, said = true) => {
			this.busyMs += this.#clock.now - begun;
			if (!good) this.wastedMs += this.#clock.now - begun;
			if (life !== this.#life || this.#inHand.get(lease.job) !== held) return;
			this.#inHand.delete(lease.job);
			if (said) this.#send({ type: "release", job: lease.job, attempt: lease.attempt, outcome: "done", reason: "" });
		};
		for (const index of grids.keys()) {
			if (plan.decide && index > plan.decide.after) {
				const measured = Number.parseInt(digestOf(`${seed} looks`).toString("hex", 0, 4), 16) / 2 ** 32;
				const { after } = plan.decide;
				plan = settle(plan, measured);
				times = service.steps(plan, others);
				if ((await this.#deliver(lease, { type: "revision", after, measured, plan }, null)) !== "on")
					return done(false);
			}
			if (plan.steps[index].kind !== "run") continue;
			// Logged scales are replayed, which takes their time again.
			await this.#clock.sleep(times[index]);
			if (life !== this.#life || held.stopped) return done(false);
			if (index === at && fate !== null) {
				if (fate === "killed") return this.#die(done);
				if (fate === "hung") return this.#hang(done);
				if (fate === "dropped") {
					this.#socket?.close();
					this.#lost();
				}
			}
			const steps = stepsOf(plan);
			const step = steps.indexOf(index);
			if (step < lease.codes.length) continue;
			const [height, width] = grids[index];
			const codes = codesOf(seed, index, Math.ceil((height * width * this.#options.model.bitsPerToken) / 8));
			const event = {
				type: "scale",
				index,
				grid: grids[index],
				stage: "semantic",
				step: step + 1,
				steps: steps.length,
				milliseconds: times[index],
				codes,
				mime: "image/webp",
				base64: "AAAA",
			};
			const answer = await this.#deliver(lease, event, index === at ? fate : null);
			if (answer !== "on") return done(false);
			await this.#clock.sleep(this.#random() * 2 * networkMs);
		}
		const sha256 = createHash("sha256")
			.update(
				stepsOf(plan)
					.map((index) => codesOf(seed, index, 8))
					.join(),
			)
			.digest("hex");
		await this.#deliver(
			lease,
			{
				type: "final",
				seed,
				...this.#options.model.schedules[plan.schedule].image,
				milliseconds: this.#clock.now - begun,
				mime: "image/webp",
				base64: "AAAA",
				sha256,
				digest: this.#options.model.digest,
				numerics: "simulated",
				adapter: "simulated",
			},
			null,
		);
		this.finished += 1;
		return done(true);
	}

	async #deliver(lease: Lease, event: object, fate: keyof Trouble | null): Promise<"on" | "stop"> {
		const { POOL: _, JOB } = this.#host.env as { POOL: unknown; JOB: { get(id: object): JobStub } };
		const job = JOB.get({ toString: () => lease.job });
		const times = fate === "doubled" || fate === "unanswered" ? 2 : 1;
		let answer: Awaited<ReturnType<JobStub["deliver"]>> = {};
		for (let i = 0; i < times; i++) answer = await job.deliver(lease.attempt, event);
		if (answer.refused !== undefined) this.refused.push(answer.refused);
		return answer.go === "on" ? "on" : "stop";
	}

	#fate(trouble: Trouble): keyof Trouble | null {
		let left = this.#random();
		for (const [name, chance] of Object.entries(trouble) as [keyof Trouble, number][])
			if ((left -= chance) < 0) return name;
		return null;
	}

	#die(done: (good: boolean, said: boolean) => Promise<void>): void {
		void done(false, false);
		this.#life += 1;
		this.#inHand.clear();
		clearInterval(this.#heartbeat as number);
		this.#socket?.close();
		this.#socket = null;
		const life = this.#life;
		setTimeout(() => life === this.#life && void this.dial(), this.#options.restartMs);
	}

	/** Its machine is gone from the network: nothing is heard of it, and it hears nothing; later it is started again. */
	#hang(done: (good: boolean, said: boolean) => Promise<void>): void {
		void done(false, false);
		this.#life += 1;
		this.#inHand.clear();
		clearInterval(this.#heartbeat as number);
		this.#socket?.vanish();
		this.#socket = null;
		const life = this.#life;
		setTimeout(() => life === this.#life && void this.dial(), 60_000 + this.#options.restartMs);
	}
}

/** What every worker would sample: the same for the same seed and scale. */
function codesOf(seed: number, scale: number, bytes: number): string {
	return Buffer.alloc(bytes, digestOf(`${seed} ${scale}`)).toString("base64");
}

const digestOf = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Those that run. */
const stepsOf = ({ steps }: StagePlan): number[] => steps.flatMap(({ kind }, index) => (kind === "run" ? [index] : []));
