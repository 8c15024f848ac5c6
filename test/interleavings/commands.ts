/** Commands of fast-check: orders of what may happen, cut down to the few that matter when one of them fails. */
import fc from "fast-check";
import { Play } from "./play.ts";
import type { Held, Worker } from "./worker.ts";
import type { World } from "./world.ts";

/** Counts alone, so that an order is the same whatever the edge makes of it. */
interface Model {
	asked: number;
}
type Command = fc.AsyncCommand<Model, Play>;

interface Draw {
	worker: number;
	which: number;
}
const draw = fc.record({ worker: fc.nat(2), which: fc.nat(7) });

function command(
	name: string,
	run: (play: Play, at: Draw) => Promise<unknown> | unknown,
	check: (model: Model) => boolean = () => true,
): fc.Arbitrary<Command> {
	return draw.map((at) => ({
		check,
		async run(model, play) {
			await run(play, at);
			await play.settle();
			model.asked = play.pictures.length;
		},
		toString: () => `${name}(${at.worker}, ${at.which})`,
	}));
}

const one = <T>(list: readonly T[], { which }: Draw): T | undefined => list[which % list.length];
const asked = ({ asked }: Model) => asked > 0;

/** Something done with a picture in a worker's hand. */
const inHand = (name: string, run: (play: Play, worker: Worker, held: Held, at: Draw) => unknown) =>
	command(
		name,
		(play, at) => {
			const worker = play.workers[at.worker];
			const held = one(worker.hand, at);
			if (held && !worker.hung) return run(play, worker, held, at);
		},
		asked,
	);
/** Something done with a picture, whoever has it. */
const ofPicture = (name: string, run: (play: Play, picture: Play["pictures"][number]) => unknown) =>
	command(name, (play, at) => run(play, one(play.pictures, at)!), asked);

const WAITS = [10, 40, 100, 400, 1500, 4000, 12_000, 40_000];

/** `most`: the longest wait in milliseconds. */
const commandsUpTo = (most: number): fc.Arbitrary<Command>[] => {
	const ask = command("ask", (play) => play.ask());
	const work = inHand("work", (play, worker, held) => play.work(worker, held));
	return [
		...[ask, ask, ask],
		...[work, work, work, work, work],
		inHand("repeat", (play, _, held) => play.repeat(held)),
		inHand("lose", (play, _, held) => play.lose(held)),
		inHand("overtake", (play, _, held) => play.overtake(held)),
		inHand("fail", (play, worker, held) => {
			play.troubles += 1;
			worker.release(held, "handed-back", "failed");
		}),
		inHand("preempted", (_, worker, held) => worker.release(held, "handed-back", "preempted")),
		command("late delivery", (play, at) => {
			const held = one(play.lost, at);
			return held && play.late(held);
		}),
		command("cut", (play, at) => {
			play.troubles += 1;
			play.workers[at.worker].link?.cut();
		}),
		command("kill", (play, at) => {
			play.troubles += 1;
			play.lost.push(...play.workers[at.worker].die());
		}),
		command("hang", (play, at) => {
			play.troubles += 1;
			play.workers[at.worker].hung = true;
		}),
		command("wake", (play, at) => {
			play.workers[at.worker].hung = false;
		}),
		command("twin", async (play, at) => {
			play.troubles += 1;
			play.lost.push(...(await play.workers[at.worker].twin()).lost);
		}),
		command("dial", (play, at) => play.workers[at.worker].dial()),
		command("dial", (play, at) => play.workers[at.worker].dial()),
		ofPicture("reader leaves", (play, picture) => play.leave(picture)),
		ofPicture("reader resumes", (play, picture) => play.resume(picture)),
		ofPicture("cancel", (play, picture) => play.cancel(picture)),
		command("evict the pool", ({ world }) => world.evict(null)),
		ofPicture("evict a job", ({ world }, { job }) => world.evict(job)),
		command("ring the pool", ({ world }) => world.ring(null)),
		ofPicture("ring a job", ({ world }, { job }) => world.ring(job)),
		command("alarms are late", ({ world }, { which }) => world.late(250 * which)),
		command("wait", (play, { which }) => play.wait(Math.min(WAITS[which], most))),
	];
};

export interface Orders {
	runs: number;
	/** The longest wait, in milliseconds. */
	patience: number;
	/** Of an order that failed, as its report names them: it is played again. */
	seed?: number;
	path?: string;
	replayPath?: string;
}

/** Plays `runs` orders on worlds of their own. Throws what fast-check reports: the shortest order that fails. */
export async function playAll(
	make: () => Promise<World>,
	{ runs, patience, seed, path, replayPath }: Orders,
): Promise<void> {
	await fc.assert(
		fc.asyncProperty(
			fc.commands(commandsUpTo(patience), { maxCommands: 80, size: "max", replayPath }),
			async (commands) => {
				const world = await make();
				try {
					const play = await Play.begin(world);
					await fc.asyncModelRun(() => ({ model: { asked: 0 }, real: play }), commands);
					await play.end();
				} finally {
					await world.close();
				}
			},
		),
		{ numRuns: runs, seed, path, includeErrorInReport: true },
	);
}
