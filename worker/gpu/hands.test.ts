import { expect, it } from "vitest";
import type { Lease } from "../protocol/messages.ts";
import { Hands } from "./hands.ts";

it("a cancel reaches what is in hand, and says where nothing is", async () => {
	const hands = new Hands();
	const lease = { job: "a", attempt: 2 } as Lease;
	const { promise: left, resolve: leave } = Promise.withResolvers<void>();
	const run = (signal: AbortSignal) =>
		new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))).catch(
			(reason: string) => ({ outcome: "done" as const, reason }),
		);
	hands.take(lease, run, (_, { reason }) => {
		expect(reason).toBe("cancelled");
		leave();
	});
	expect(hands.cancel({ job: "a", attempt: 1 })).toBe(false);
	expect(hands.cancel({ job: "a", attempt: 2 })).toBe(true);
	await left;
	expect([hands.holding(), hands.cancel({ job: "a", attempt: 2 })]).toEqual([[], false]);
});
