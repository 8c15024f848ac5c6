/** What the page asks of its edge, by answers that a test makes up. */
import { afterAll, expect, it, vi } from "vitest";

// What the page has around it as it is loaded.
vi.stubGlobal("document", { baseURI: "http://edge.test/studio/" });
vi.stubGlobal("sessionStorage", { getItem: () => null });
afterAll(() => vi.unstubAllGlobals());
const { catalog, isJob, jobAddress } = await import("./edge.ts");

it("a job of a link is no more than a job: nothing in it asks for anything else", () => {
	const query = [...jobAddress("&prompt=a+cat").searchParams];
	expect(query).toEqual([["lastEventId", "&prompt=a+cat"]]);
	expect(isJob("0".repeat(64))).toBe(true);
	for (const other of [null, "", "&prompt=a+cat", `${"0".repeat(64)}&prompt=a`, "here-1", "0".repeat(64).concat("\n")])
		expect(isJob(other)).toBe(false);
});

it("a refusal is no empty catalogue", async () => {
	const error = { code: "insufficient_quota", message: "This key may not." };
	vi.stubGlobal("fetch", async () => Response.json({ error }, { status: 403 }));
	await expect(catalog()).rejects.toMatchObject({ name: "Refusal", ...error });
	vi.stubGlobal("fetch", async () => new Response("upstream", { status: 502 }));
	await expect(catalog()).rejects.toMatchObject({ name: "Lost", message: "The edge answered 502." });
	vi.stubGlobal("fetch", async () => Response.json({ data: [] }));
	expect(await catalog()).toEqual({ models: [], policies: [] });
});
