/** Links: what they say is what is read from them. */
import { afterAll, expect, it, vi } from "vitest";
import type { Trunk } from "./run.ts";

// What the page has around it as it is loaded.
vi.stubGlobal("document", { baseURI: "http://edge.test/" });
vi.stubGlobal("location", new URL("http://edge.test/?prompt=before"));
vi.stubGlobal("sessionStorage", { getItem: () => null });
afterAll(() => vi.unstubAllGlobals());
const { linkOf, trunkIn } = await import("./share.ts");

const ask = { prompt: "a cat", seed: "9", policy: "exact", format: "png" } as const;
const linked = (trunk?: Trunk) => trunkIn(linkOf({ ask, trunk }).searchParams);

it("a link says whose the first scales are, however often they changed hands", () => {
	expect(linked()).toBeUndefined();
	const first: Trunk = { seed: "3", scales: 1 };
	expect(linked(first)).toEqual(first);
	const third: Trunk = { seed: "7", scales: 3, before: { seed: "5", scales: 2, before: first } };
	expect(linked(third)).toEqual(third);
});

it.each(["trunk=x&scales=2", "trunk=3", "trunk=3&scales=0", "trunk=3&scales=2&trunk=5", "trunk=4294967296&scales=2"])(
	"a link that says no such thing says nothing: %s",
	(link) => {
		expect(trunkIn(new URLSearchParams(link))).toBeUndefined();
	},
);
