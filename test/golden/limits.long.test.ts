import { describe } from "vitest";
import { verifyInDeno } from "./deno.ts";
import { optionOf, SMALL, SMALLEST, verifyWithin } from "./limits.ts";
import { BUNDLED, SETS } from "./sets.ts";

describe.each([SMALL, SMALLEST])("bindings of $binding bytes", (limits) => {
	describe("Node", () => verifyWithin(limits, [...SETS, ...BUNDLED]));
	describe("Deno", () => verifyInDeno(SETS, ["--limits", optionOf(limits)]));
});
