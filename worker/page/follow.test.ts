/** A picture from the edge, by answers that a test makes up. */
import { afterAll, expect, it, vi } from "vitest";
import type { Waiting } from "./follow.ts";

// What the page has around it as it is loaded.
vi.stubGlobal("document", { baseURI: "http://edge.test/" });
vi.stubGlobal("sessionStorage", { getItem: () => null });
afterAll(() => vi.unstubAllGlobals());
const { follow } = await import("./follow.ts");

const told = (type: string, n: number) => `event: ${type}\nid: j.${n}\ndata: ${JSON.stringify({ type })}\n\n`;
const refused = (code: string) =>
	Response.json({ error: { code, message: `Refused: ${code}.` } }, { status: 429, headers: { "retry-after": "1" } });

/** What comes of a picture, what a person is told meanwhile and what is asked, where the edge answers like this. */
async function picture(...answers: Response[]) {
	const asked: string[] = [];
	vi.stubGlobal("fetch", async (_: URL, { method = "GET", headers }: RequestInit = {}) => {
		asked.push(`${method} ${new Headers(headers).get("last-event-id") ?? ""}`.trim());
		return answers.shift() ?? new Response(null, { status: 204 });
	});
	const states: Waiting[] = [];
	const ask = { prompt: "a cat", seed: "1", policy: "exact", format: "png" } as const;
	const come = follow(ask, new AbortController().signal, (state) => states.push(state));
	const types: string[] = [];
	let problem: unknown;
	try {
		for await (const { type } of come) types.push(type);
	} catch (error) {
		problem = error;
	}
	return { types, states, asked, problem };
}

it("a picture that was begun outlasts the key's own limit on the way back to it", async () => {
	const { types, states, asked, problem } = await picture(
		new Response(told("plan", 0)),
		refused("rate_limit_exceeded"),
		new Response(told("final", 1)),
	);
	expect(problem).toBeUndefined();
	expect(types).toEqual(["plan", "final"]);
	expect(asked).toEqual(["GET", "GET j.0", "GET j.0"]);
	expect(states).toEqual([
		{ kind: "lost", begun: true },
		{ kind: "lost", begun: true },
	]);
});

it("a picture that was begun is ended where the edge refuses it for good", async () => {
	const { types, asked, problem } = await picture(new Response(told("plan", 0)), refused("insufficient_quota"));
	expect(problem).toMatchObject({ name: "Refusal", code: "insufficient_quota" });
	expect(types).toEqual(["plan"]);
	expect(asked).toEqual(["GET", "GET j.0", "DELETE"]);
});
