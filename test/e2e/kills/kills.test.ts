/**
 * Every fault at every delivery of every policy that the tiny model can plan: nothing is lost, and the bytes are equal.
 * A worker has one picture of each policy in hand, and fails when all of them are as far as is wished.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SseEvent, sse } from "../firstlight.ts";
import { Parts } from "../parts.ts";
import { Crew } from "./crew.ts";
import { type Case, FAULTS, type Fault } from "./faults.ts";
import type { Answer, Delivery } from "./line.ts";

/** As in production, only quicker. */
const SETTINGS = { HEARTBEAT_SECONDS: "1", REJOIN_SECONDS: "0.3", STALL_SECONDS: "5", STATUS_SECONDS: "0" };
/** Scales of the tiny model, a revision, the finished picture. */
const MOST_DELIVERIES = 6;

let parts: Parts;
let crew: Crew;
let policies: string[];
/** By policy: deliveries of a picture that nothing happens to, and what its reader gets. */
const usual = new Map<string, { deliveries: string[]; events: unknown[] }>();
const table: Record<string, Record<string, string>> = {};
const begun = performance.now();
beforeAll(async () => {
	parts = await Parts.start("tiny", SETTINGS);
	crew = await Crew.start(
		["a", "b"],
		{ url: parts.url, worker: { ...parts.workerSettings(), SLOTS: "16" } },
		{ spares: true },
	);
	const { data } = (await (await fetch(`${parts.url}/v1/policies`)).json()) as {
		data: { name: string; models: Record<string, string[]> }[];
	};
	policies = data.filter(({ models }) => models.tiny?.length).map(({ name }) => name);
	for (const policy of policies) {
		const deliveries = new Set<string>();
		for (const { line } of crew.hands.values())
			line.meddle = (delivery) => {
				deliveries.add(delivery.what);
				return delivery.pass();
			};
		usual.set(policy, { events: await picture(policy), deliveries: [...deliveries] });
	}
});
afterAll(async () => {
	console.table(table);
	console.log(`${((performance.now() - begun) / 60_000).toFixed(1)} minutes`);
	await crew?.stop();
	await parts?.stop();
});

/** What a reader gets, but for times and the job's name. */
async function picture(policy: string): Promise<unknown[]> {
	const query = new URLSearchParams({ prompt: "a cat", seed: "7", model: "tiny", policy, cache: "false" });
	const events: SseEvent[] = [];
	for await (const event of sse(await fetch(`${parts.url}/v1/images/preview?${query}`))) events.push(event);
	return events.map(({ event, id, data: { job: _, milliseconds: __, ...data } }) => [event, id.split(".")[1], data]);
}

/** One picture of each policy on one worker, which fails when each is at its delivery number `at`. */
async function disturbed(at: number, fault: Fault) {
	if (fault.warm) await crew.warm();
	await crew.idle();
	const victim = await crew.alone("a");
	const doomed = policies.filter((policy) => usual.get(policy)!.deliveries.length > at);
	const done = Promise.withResolvers<void>();
	const failing = Promise.withResolvers<void>();
	const [refused, late]: Answer[][] = [[], []];
	let newcomer: Promise<void> | undefined;
	const succeed = () => (newcomer ??= crew.succeed(victim.name));
	const seen = new Map<string, { delivery: Delivery; after: PromiseWithResolvers<Delivery> }[]>();
	const cases = new Map<string, Case>();
	const faulty: Promise<Answer | null>[] = [];
	victim.line.meddle = async (delivery) => {
		const before = seen.get(delivery.job) ?? [];
		// Of a later attempt, or tried again.
		if (before.some(({ delivery: { what } }) => what === delivery.what)) return delivery.pass();
		before.at(-1)?.after.resolve(delivery);
		const after = Promise.withResolvers<Delivery>();
		seen.set(delivery.job, [...before, { delivery, after }]);
		if (before.length !== at) {
			await cases.get(delivery.job)?.next;
			return delivery.pass();
		}
		const of: Case = {
			victim,
			succeed,
			done: done.promise,
			before: before.at(-1)?.delivery ?? null,
			after: after.promise,
			refused,
			late,
		};
		cases.set(delivery.job, of);
		const answer = failing.promise.then(() => fault.at(of, delivery));
		faulty.push(answer);
		if (faulty.length === doomed.length) {
			// The others are there again, to go on with what is left.
			for (const { line } of crew.hands.values()) line.open();
			failing.resolve();
		}
		return answer;
	};
	const pictures = await Promise.all(policies.map(async (policy) => [policy, await picture(policy)] as const));
	expect(faulty.length).toBe(doomed.length);
	done.resolve();
	await Promise.all(faulty);
	victim.line.meddle = (delivery) => delivery.pass();
	const ended = fault.ends !== undefined ? await victim.ended() : undefined;
	return { pictures, doomed, ended, refused, late };
}

describe.each(Object.entries(FAULTS))("%s", (name, fault) => {
	it.each(Array.from({ length: MOST_DELIVERIES }, (_, at) => at))("at delivery %i", async (at) => {
		// Where no policy settles its plan on the way, there is one delivery less.
		if (policies.every((policy) => usual.get(policy)!.deliveries.length <= at)) return;
		const { pictures, doomed, ended, refused, late } = await disturbed(at, fault);
		for (const [policy, events] of pictures) expect([policy, events]).toEqual([policy, usual.get(policy)!.events]);
		expect(ended).toBe(fault.ends);
		expect(refused.filter(({ status }) => status < 400 || status >= 500)).toEqual([]);
		expect(late.filter(({ body }) => JSON.parse(body).go !== "stop")).toEqual([]);
		for (const policy of doomed) {
			const row = (table[policy] ??= {});
			const what = usual.get(policy)!.deliveries[at];
			row[what] = row[what] ? `${row[what]}, ${name}` : name;
		}
	});
});
