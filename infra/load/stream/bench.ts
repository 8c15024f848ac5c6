/**
 * `npm run bench:stream`: how long a scale takes from a worker's send to a client's receive, and what a crowd of
 * readers of one job, a fifth of them slow or stopped, does to the others and to the edge's memory.
 */
import { interruptSignal } from "../../cli/interrupt.ts";
import { distributionOf } from "../distribution.ts";
import { type Crowd, crowd } from "./crowd.ts";
import { delays } from "./delay.ts";
import { ownEdge } from "./own-edge.ts";

const PICTURES = 50;
const PAUSE_MS = 500;
const CROWD: Crowd = { readers: 300, slow: 30, stopped: 30, pictureBytes: 60_000, gapMs: 400 };

const ms = (values: readonly number[]): string => {
	const { percentiles, max } = distributionOf(values);
	const at = (name: string) => percentiles[name]?.value.toFixed(1) ?? "-";
	return `p50 ${at("p50")} ms, p95 ${at("p95")} ms, most ${max?.toFixed(1)} ms (${values.length})`;
};

// With the process end the edge and its state.
interruptSignal();
{
	await using edge = await ownEdge();
	console.log(`send to receive, tiny: ${ms(await delays(edge, PICTURES, PAUSE_MS))}`);
}
for (const [name, these] of [
	["all steady", { ...CROWD, readers: CROWD.readers - CROWD.slow - CROWD.stopped, slow: 0, stopped: 0 }],
	["a fifth more, slow or stopped", CROWD],
] as const) {
	// Another edge each time, so that memory is its own.
	await using edge = await ownEdge();
	const before = edge.memory();
	const seen = await crowd(edge, these);
	console.log(`\n${these.readers} readers, ${name}, ${CROWD.pictureBytes} bytes a picture`);
	console.log(`  send to receive: ${ms(seen.delays.flat())}`);
	console.log(`  by scale, p50 ms: ${seen.delays.map((of) => distributionOf(of).percentiles.p50?.value).join(" ")}`);
	console.log(`  gaps (${CROWD.gapMs} ms sent): ${ms(seen.gaps)}`);
	if (before !== null && seen.memory !== null)
		console.log(
			`  workerd's memory: ${(before / 2 ** 20).toFixed(0)} MiB, at most ${(seen.memory / 2 ** 20).toFixed(0)}`,
		);
}
