/** GPU worker processes, each behind a line of its own; one that is lost has a successor, warm if wished. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Line } from "./line.ts";

const root = join(import.meta.dirname, "..", "..", "..");

export interface Edge {
	url: string;
	/** Settings of a worker for this edge. */
	worker: Record<string, string>;
}

/** One process. */
export class Hand {
	readonly name: string;
	readonly line: Line;
	readonly process: ChildProcess;
	/** What it said. */
	log = "";
	readonly #exited: Promise<unknown>;

	private constructor(name: string, line: Line, process: ChildProcess) {
		[this.name, this.line, this.process] = [name, line, process];
		this.#exited = once(process, "exit");
		for (const stream of [process.stdout, process.stderr]) stream?.on("data", (data) => (this.log += data));
		void this.#exited.then(() => line.close());
	}

	/** Resolves when its model is warm and it knocks at its line, which is closed yet. */
	static async start(name: string, { url, worker }: Edge): Promise<Hand> {
		const line = await Line.to(url);
		const child = spawn(process.execPath, [join(root, "worker", "gpu", "main.ts")], {
			cwd: root,
			env: { ...process.env, ...worker, EDGE_URL: line.url, WORKER_ID: name },
			// The channel tells it when these tests are gone.
			stdio: ["ignore", "pipe", "pipe", "ipc"],
		});
		const hand = new Hand(name, line, child);
		while (!hand.log.includes("loaded and warm")) {
			if (!hand.lives) throw new Error(`worker ${name} ended with ${child.exitCode}:\n${hand.log}`);
			await sleep(20);
		}
		return hand;
	}

	get lives(): boolean {
		return this.process.exitCode === null && this.process.signalCode === null;
	}

	signal(signal: NodeJS.Signals): void {
		this.process.kill(signal);
	}

	/** Its exit code; null where a signal ended it. */
	async ended(): Promise<number | null> {
		await this.#exited;
		return this.process.exitCode;
	}
}

export class Crew {
	readonly edge: Edge;
	/** At work, by name. */
	readonly hands = new Map<string, Hand>();
	readonly #spares: boolean;
	readonly #successors = new Map<string, Promise<Hand>>();

	private constructor(edge: Edge, spares: boolean) {
		this.edge = edge;
		this.#spares = spares;
	}

	/** Resolves when all are admitted. `spares`: whether a successor of each is kept warm. */
	static async start(names: readonly string[], edge: Edge, { spares }: { spares: boolean }): Promise<Crew> {
		const crew = new Crew(edge, spares);
		for (const name of names) await crew.succeed(name);
		await crew.idle();
		return crew;
	}

	/** The next process of this name begins its work, whatever became of the one before. */
	async succeed(name: string): Promise<void> {
		const hand = await (this.#successors.get(name) ?? Hand.start(name, this.edge));
		if (this.#spares) this.#await(name);
		this.hands.set(name, hand);
		hand.line.open();
	}

	/** Every name has a successor. */
	async warm(): Promise<void> {
		await Promise.all(this.#successors.values());
	}

	/** All names but this one are away from the edge. */
	async alone(name: string): Promise<Hand> {
		for (const [other, { line }] of this.hands) if (other !== name) line.shut();
		await this.idle(1);
		return this.hands.get(name)!;
	}

	/** Every name has a living process, and the edge knows so many of them, with nothing in hand. */
	async idle(there = this.hands.size): Promise<void> {
		for (const [name, hand] of this.hands) if (!hand.lives) await this.succeed(name);
		if (there === this.hands.size) for (const { line } of this.hands.values()) line.open();
		for (;;) {
			const { workers, queue } = (await (await fetch(`${this.edge.url}/healthz`)).json()) as {
				workers: { busy: number }[];
				queue: number;
			};
			if (queue === 0 && workers.length === there && workers.every(({ busy }) => busy === 0)) return;
			await sleep(20);
		}
	}

	async stop(): Promise<void> {
		const spare = await Promise.allSettled(this.#successors.values());
		const all = [...this.hands.values(), ...spare.flatMap((each) => (each.status === "fulfilled" ? each.value : []))];
		for (const hand of all) hand.signal("SIGKILL");
		await Promise.all(all.map((hand) => hand.ended()));
	}

	#await(name: string): void {
		const hand = Hand.start(name, this.edge);
		hand.catch(() => {});
		this.#successors.set(name, hand);
	}
}
