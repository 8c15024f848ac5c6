/** The edge is killed in mid-stream, and comes back as it was or as a later release: readers resume, workers go on. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { follow, type ShownEvent } from "../../../worker/protocol/client.ts";
import { Parts } from "../parts.ts";
import { Crew } from "./crew.ts";

const NEXT = "test/edge/next-release.ts";

let parts: Parts;
let crew: Crew;
beforeAll(async () => {
	parts = await Parts.start("tiny", { STATUS_SECONDS: "0" });
	crew = await Crew.start(["a", "b"], { url: parts.url, worker: parts.workerSettings() }, { spares: false });
});
afterAll(async () => {
	await crew?.stop();
	await parts?.stop();
});

const picture = async (seed: number): Promise<unknown[]> => {
	const events: ShownEvent[] = await Array.fromAsync(
		follow({ prompt: "a cat", model: "tiny", seed, cache: false }, { url: parts.url, retries: 100 }),
	);
	return events.map(({ ...event }) => ({ ...event, job: undefined, milliseconds: undefined }));
};

it.each([
	["the same code", undefined],
	["a later release", NEXT],
	["the release before again", undefined],
])("%s", async (_, main) => {
	// Two in hand, two in the queue.
	const seeds = [1, 2, 3, 4];
	const whole = await Promise.all(seeds.map(picture));
	await crew.idle();
	const back = Promise.withResolvers<void>();
	const held = Promise.withResolvers<void>();
	let holding = 0;
	for (const { line } of crew.hands.values())
		line.meddle = async (delivery) => {
			if (delivery.what === "scale 2" && holding < crew.hands.size) {
				if (++holding === crew.hands.size) held.resolve();
				await back.promise;
			}
			return delivery.pass();
		};
	const pictures = Promise.all(seeds.map(picture));
	await held.promise;
	await parts.killEdge();
	await parts.startEdge(main);
	back.resolve();
	expect(await pictures).toEqual(whole);
	const release = (await fetch(`${parts.url}/healthz`)).headers.get("x-release");
	expect(release).toBe(main ? "next" : null);
	await crew.idle();
});
