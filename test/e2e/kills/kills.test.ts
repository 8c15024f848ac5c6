/** Every scale of every policy that the tiny model can plan: all workers are killed at it, and nothing is lost. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { policies } from "../../../worker/policies/index.ts";
import { Firstlight, type SseEvent, sse } from "../firstlight.ts";

let firstlight: Firstlight;
beforeAll(async () => {
	firstlight = await Firstlight.start({ GPU_WORKERS: "2" });
});
afterAll(() => firstlight?.stop());

const ask = (policy: string) =>
	fetch(
		`${firstlight.url}/v1/images/preview?${new URLSearchParams({
			prompt: "a cat",
			seed: "7",
			model: "tiny",
			policy,
			cache: "false",
		})}`,
	);

/** The events of a picture, with every worker killed as soon as scale number `at` has come. */
async function events(policy: string, at: number): Promise<SseEvent[]> {
	while (!(await fetch(`${firstlight.url}/healthz`)).ok) await new Promise((resolve) => setTimeout(resolve, 100));
	const all: SseEvent[] = [];
	for await (const event of sse(await ask(policy))) {
		all.push(event);
		if (event.event === "scale" && event.data.index === at)
			for (const pid of firstlight.workers()) process.kill(pid, "SIGKILL");
	}
	return all;
}

it.each(Object.keys(policies))("%s", async (policy) => {
	const { data } = (await (await fetch(`${firstlight.url}/v1/policies`)).json()) as {
		data: { name: string; models: Record<string, string[]> }[];
	};
	if (!data.find(({ name }) => name === policy)?.models.tiny?.length) return;
	const whole = await events(policy, -1);
	const seen = (of: SseEvent[]) => of.map(({ event, id, data }) => [event, id.split(".")[1], data.index, data.sha256]);
	for (const { event, data } of whole)
		if (event === "scale")
			expect([data.index, seen(await events(policy, data.index as number))]).toEqual([data.index, seen(whole)]);
});
