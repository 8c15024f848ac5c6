import { expect, test } from "vitest";
import { createJobs } from "./job-client.ts";

const busy = (code: string) =>
	Response.json(
		{ error: { code, message: "It is being worked on." } },
		{ status: 409, headers: { "retry-after": "0" } },
	);

/** What was answered, one after the other; a null is a connection that breaks. */
function peer(...answers: (Response | null)[]) {
	let asked = 0;
	const fetch = async () => {
		const answer = answers[asked++];
		if (!answer) throw new TypeError("fetch failed");
		return answer;
	};
	return { fetch, asked: () => asked };
}

test("what was cut off while the edge works on it is asked for until it is there", async () => {
	const made = Response.json({ object: "list", data: [] });
	const { fetch, asked } = peer(null, busy("idempotency_key_in_use"), busy("idempotency_key_in_use"), made);
	expect(await createJobs({ prompt: "a cat" }, { url: "http://localhost", fetch }, "once")).toEqual([]);
	expect(asked()).toBe(4);
});

test("another refusal, and one that nothing was cut off before, is the caller's", async () => {
	const other = peer(null, busy("something_else"));
	const ask = (fetch: typeof globalThis.fetch) =>
		createJobs({ prompt: "a cat" }, { url: "http://localhost", fetch }, "once");
	await expect(ask(other.fetch)).rejects.toMatchObject({ code: "something_else" });
	const first = peer(busy("idempotency_key_in_use"));
	await expect(ask(first.fetch)).rejects.toMatchObject({ code: "idempotency_key_in_use" });
	expect(first.asked()).toBe(1);
});
