/** Five hundred pictures on three workers, one of which is killed whenever twice the time of a restart has passed. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type SseEvent, sse } from "../firstlight.ts";
import { Parts } from "../parts.ts";
import { Crew, type Hand } from "./crew.ts";

const PICTURES = 500;
/** Each drawn ten times: equal seeds give equal bytes, whoever died meanwhile. */
const SEEDS = 50;
const READERS = 6;

let parts: Parts;
let crew: Crew;
let restart: number;
const hands = new Set<Hand>();
beforeAll(async () => {
	parts = await Parts.start("tiny", { STATUS_SECONDS: "0" });
	const begun = performance.now();
	crew = await Crew.start(["a", "b", "c"], { url: parts.url, worker: parts.workerSettings() }, { spares: false });
	restart = (performance.now() - begun) / crew.hands.size;
});
afterAll(async () => {
	await crew?.stop();
	await parts?.stop();
});

it("all end, none twice, none lost", async () => {
	const pictures: SseEvent[][] = [];
	let asked = 0;
	const read = async () => {
		while (asked < PICTURES) {
			const seed = String(asked++ % SEEDS);
			const query = new URLSearchParams({ prompt: "a cat", model: "tiny", seed, cache: "false" });
			const answer = await fetch(`${parts.url}/v1/images/preview?${query}`);
			expect(answer.status).toBe(200);
			pictures.push(await Array.fromAsync(sse(answer)));
		}
	};
	const begun = performance.now();
	let kills = 0;
	let over = false;
	const kill = async () => {
		for (const name of Array.from({ length: PICTURES }, (_, i) => ["a", "b", "c"][i % 3])) {
			await sleep(2 * restart);
			if (over) return;
			const hand = crew.hands.get(name)!;
			hands.add(hand);
			hand.signal("SIGKILL");
			kills += 1;
			await crew.succeed(name);
		}
	};
	const killing = kill();
	await Promise.all(Array.from({ length: READERS }, read));
	const minutes = (performance.now() - begun) / 60_000;
	over = true;
	await killing;
	for (const hand of crew.hands.values()) hands.add(hand);

	const finals = pictures.map((events) => events.at(-1)!);
	expect(finals.filter(({ event }) => event !== "final")).toEqual([]);
	for (const events of pictures) {
		expect(events.map(({ id }) => Number(id.split(".")[1]))).toEqual(events.map((_, n) => n));
		expect(events.map(({ event }) => event)).toEqual(["plan", ...Array(events.length - 2).fill("scale"), "final"]);
	}
	expect(new Set(finals.map(({ id }) => id.split(".")[0])).size).toBe(PICTURES);
	expect(new Set(finals.map(({ data }) => `${data.seed} ${data.sha256}`)).size).toBe(SEEDS);
	// Finished once each, as the workers tell it; one that was killed just then could not tell.
	const told = [...hands].flatMap(({ log }) => log.match(/job \w+: picture of/g) ?? []);
	expect(new Set(told).size).toBe(told.length);
	console.log(
		`${PICTURES} pictures in ${minutes.toFixed(1)} minutes, ${kills} kills, ` +
			`one in ${((2 * restart) / 1000).toFixed(1)} s: all ended, none twice, none lost.`,
	);
}, 1_800_000);
