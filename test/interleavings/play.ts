/**
 * Workers and readers on an edge, played by commands, beside what must hold whatever their order: a delivery of the
 * newest attempt is taken, one of an older is not, a lease has all that was taken so far, a log has no gap and no
 * repeat, and in the end every picture has ended, once, whole.
 */
import assert from "node:assert/strict";
import type { Lease } from "../../worker/protocol/messages.ts";
import { type Held, Worker } from "./worker.ts";
import type { Reading, World } from "./world.ts";

const NAMES = ["a", "b", "c"];
/** Of the edge's MAX_ATTEMPTS: a picture may be lost to as many troubles, and to no fewer. */
const MOST_ATTEMPTS = 3;

/** What is known of a picture without asking the edge. */
interface Picture {
	job: string;
	readings: Reading[];
	/** Since when nobody reads it, and the longest that was so. */
	absent: number | null;
	longestAbsence: number;
	asked: number;
	/** Of the newest lease that any worker has seen, and of all. */
	attempt: number;
	readonly attempts: Set<number>;
	/** Scales that the edge took. */
	taken: number;
	/** Whether the edge must have taken its final event: nothing else can have ended it by then. */
	finished: boolean;
	cancelled: boolean;
}

export class Play {
	readonly world: World;
	readonly workers: Worker[];
	readonly pictures: Picture[] = [];
	/** Leases that nobody holds any more, as they were when they were lost. */
	readonly lost: Held[] = [];
	/** What may have cost an attempt. */
	troubles = 0;
	/** Whether there was a time without any worker. */
	alone = false;
	#lived: number;

	private constructor(world: World) {
		this.world = world;
		this.#lived = world.now();
		this.workers = NAMES.map((name) => new Worker(name, world, (lease) => this.#leased(lease)));
	}

	static async begin(world: World): Promise<Play> {
		const play = new Play(world);
		for (const worker of play.workers) await worker.dial();
		await play.wait(50);
		return play;
	}

	/** Everybody hears what came, and all that must hold is looked at. */
	async settle(): Promise<void> {
		await this.world.wait(5);
		this.#live();
		if (!this.workers.some(({ there }) => there)) this.alone = true;
		for (const picture of this.pictures) for (const reading of picture.readings) whole(reading);
		const { workers } = await this.world.status();
		for (const { busy, slots } of workers) assert.ok(busy <= slots + this.lost.length, `${busy} in ${slots} slots`);
	}

	async wait(milliseconds: number): Promise<void> {
		// Pictures in hand may count as stuck by then.
		if (milliseconds >= this.world.times.heartbeat) this.troubles += MOST_ATTEMPTS;
		const step = this.world.times.heartbeat / 2;
		for (let left = milliseconds; left > 0; left -= step) {
			await this.world.wait(Math.min(step, left));
			this.#live();
		}
	}

	#live(): void {
		const now = this.world.now();
		// A machine that has much else to do: everybody was silent, and may count as gone.
		if (now - this.#lived > 2 * this.world.times.heartbeat) {
			this.troubles += MOST_ATTEMPTS;
			this.alone = true;
		}
		this.#lived = now;
		for (const worker of this.workers) worker.live();
	}

	async ask(): Promise<void> {
		const reading = await this.world.ask(this.pictures.length);
		if (!reading) return;
		this.pictures.push({
			job: reading.job,
			readings: [reading],
			absent: null,
			longestAbsence: 0,
			asked: this.world.now(),
			attempt: 0,
			attempts: new Set(),
			taken: 0,
			finished: false,
			cancelled: false,
		});
	}

	async leave(picture: Picture): Promise<void> {
		if (picture.absent !== null) return;
		picture.absent = this.world.now();
		await picture.readings.at(-1)!.leave();
	}

	async resume(picture: Picture): Promise<void> {
		await this.leave(picture);
		const seen = picture.readings.flatMap(({ events }) => events);
		const reading = await this.world.resume(picture.job, seen.at(-1)?.n ?? -1);
		if (!reading) return;
		picture.longestAbsence = Math.max(picture.longestAbsence, this.world.now() - picture.absent!);
		picture.absent = null;
		picture.readings.push(reading);
	}

	/** One more event of a picture; what is finished or not wanted is let go. */
	async work(worker: Worker, held: Held): Promise<void> {
		const { lease, next } = held;
		const picture = this.#picture(lease);
		const newest = lease.attempt === picture.attempt;
		const { finished, cancelled } = picture;
		const open = this.#mustBeOpen(picture);
		const runs = runsOf(lease);
		const event = next < runs.length ? this.world.scale(lease, runs[next]) : this.world.final(lease);
		const answer = await this.world.deliver(lease, event);
		assert.notEqual(answer, "refused", `${event.type} ${next} of attempt ${lease.attempt}`);
		if (answer === "on") {
			assert.ok(newest, "an older attempt was told to go on");
			assert.ok(!finished && !cancelled, "a picture that has ended goes on");
			assert.equal(picture.taken, next, "scales are taken in order");
			picture.taken = next + 1;
		} else if (next === runs.length && newest && open) picture.finished = true;
		held.next += 1;
		if (answer === "stop") worker.release(held, "done");
	}

	/** The next scale, which readers may be told of, and the job's log never has: it is to be delivered again. */
	async lose({ lease, next }: Held): Promise<void> {
		const runs = runsOf(lease);
		if (next === runs.length) return;
		const answer = await this.world.lose(lease, this.world.scale(lease, runs[next]));
		assert.ok(answer === "lost" || answer === "stop", `${answer}, and it was not written`);
	}

	/** The event before the next one again: as if its answer had been lost. Nothing comes of it. */
	async repeat({ lease, next }: Held): Promise<void> {
		if (next > lease.codes.length)
			assert.notEqual(await this.world.deliver(lease, this.world.scale(lease, runsOf(lease)[next - 1])), "refused");
	}

	/** The event after the next one: out of order. */
	async overtake({ lease, next }: Held): Promise<void> {
		const runs = runsOf(lease);
		if (next + 1 >= runs.length) return;
		assert.notEqual(await this.world.deliver(lease, this.world.scale(lease, runs[next + 1])), "on", "out of order");
	}

	/** What a process delivered just before it was lost comes now. */
	async late({ lease, next }: Held): Promise<void> {
		const picture = this.#picture(lease);
		const runs = runsOf(lease);
		const event = next < runs.length ? this.world.scale(lease, runs[next]) : this.world.final(lease);
		const newest = lease.attempt === picture.attempt;
		const open = this.#mustBeOpen(picture);
		const answer = await this.world.deliver(lease, event);
		if (answer === "on") {
			assert.ok(newest, "an older attempt was told to go on");
			picture.taken = Math.max(picture.taken, next + 1);
		} else if (event.type === "final" && newest && open && answer === "stop") picture.finished = true;
	}

	async cancel(picture: Picture): Promise<void> {
		// One that has ended would be deleted.
		const last = picture.readings.at(-1)!.events.at(-1)?.type;
		if (picture.finished || last === "final" || last === "error") return;
		picture.cancelled = true;
		await this.world.cancel(picture.job);
	}

	/** All that is left is done; then every picture has ended, and nobody has anything in hand. */
	async end(): Promise<void> {
		this.world.late(0);
		const deadline = this.world.now() + 3 * this.world.times.deadline;
		const reading = () => this.pictures.filter(({ readings }) => !readings.at(-1)!.ended);
		for (const picture of this.pictures) if (picture.absent !== null) await this.resume(picture);
		for (const worker of this.workers) worker.hung = false;
		for (;;) {
			this.#live();
			for (const worker of this.workers) {
				await worker.dial();
				for (const held of [...worker.hand]) await this.work(worker, held);
			}
			await this.settle();
			if (reading().every(({ absent }) => absent !== null)) break;
			assert.ok(this.world.now() < deadline, `${reading().length} readers wait for ever`);
			await this.world.wait(20);
		}
		for (const picture of this.pictures) this.#ended(picture);
		const over = this.world.now() + 20 * this.world.times.heartbeat;
		for (;;) {
			const { queue, workers } = await this.world.status();
			if (queue === 0 && workers.every(({ busy }) => busy === 0)) return;
			assert.ok(this.world.now() < over, `left behind: ${JSON.stringify({ queue, workers })}`);
			for (const worker of this.workers) for (const held of [...worker.hand]) await this.work(worker, held);
			await this.settle();
		}
	}

	#ended(picture: Picture): void {
		const { readings, absent, finished, cancelled } = picture;
		const events = readings.flatMap((reading) => reading.events);
		const last = events.at(-1)!;
		const over = last.type === "final" || last.type === "error";
		// Its log was deleted while nobody read it.
		if (absent !== null && !over) return;
		if (readings.at(-1)!.gone && !over) {
			assert.ok(cancelled, "a log was deleted under its reader, and nobody had cancelled twice");
			return;
		}
		const kinds = events.map(({ type, json }) => (type === "scale" ? json.index : type));
		assert.deepEqual(
			events.map(({ n }) => n),
			events.map((_, n) => n),
		);
		assert.ok(over, `the log ends with ${last.type}`);
		if (last.type === "final") {
			assert.deepEqual(kinds, ["plan", ...scalesOf(events), "final"]);
			return;
		}
		assert.ok(!finished, `a picture that the edge took ended with ${last.json.code}`);
		const may = this.#reasons(picture);
		assert.ok(may[last.json.code!], `ended with ${last.json.code}, for which there was no reason`);
	}

	/** By error code, whether a picture may have ended with it by now. */
	#reasons({ absent, longestAbsence, asked, cancelled }: Picture): Record<string, boolean> {
		const { grace, deadline } = this.world.times;
		const now = this.world.now();
		return {
			cancelled,
			abandoned: Math.max(longestAbsence, now - (absent ?? now)) >= grace,
			deadline: now - asked >= deadline,
			worker_lost: this.troubles >= MOST_ATTEMPTS,
			no_workers: this.alone,
		};
	}

	/** A worker that was cut off does not hear that its picture has ended, and is told so when it delivers. */
	#mustBeOpen(picture: Picture): boolean {
		return !Object.values(this.#reasons(picture)).includes(true);
	}

	#leased(lease: Lease): void {
		const picture = this.#picture(lease);
		assert.ok(!picture.attempts.has(lease.attempt), `attempt ${lease.attempt} twice`);
		picture.attempts.add(lease.attempt);
		// One that was sent while its worker stood still is heard when others have gone on.
		if (lease.attempt < picture.attempt) return;
		assert.equal(lease.codes.length, picture.taken, "a lease has all that was taken");
		picture.attempt = lease.attempt;
	}

	#picture({ job }: Lease): Picture {
		return this.pictures.find((picture) => picture.job === job)!;
	}
}

const runsOf = ({ request: { plan } }: Lease): number[] =>
	plan.steps.flatMap(({ kind }, index) => (kind === "run" ? [index] : []));

const scalesOf = (events: readonly { json: { index?: number } }[]): number[] =>
	Array.from({ length: events.length - 2 }, (_, index) => index);

/** No gap, no repeat, nothing after the end. */
function whole({ events }: Reading): void {
	for (const [i, { n, type }] of events.entries()) {
		if (i > 0) assert.equal(n, events[i - 1].n + 1, "a gap or a repeat");
		if (i < events.length - 1) assert.ok(type !== "final" && type !== "error", "something after the end");
	}
}
