import { describe } from "vitest";
import { verifyInDeno } from "./deno.ts";
import { SMALL, SMALL_OPTION, verifyWithin } from "./limits.ts";
import { BUNDLED, SETS } from "./sets.ts";

describe("Node", () => verifyWithin(SMALL, [...SETS, ...BUNDLED]));
describe("Deno", () => verifyInDeno(SETS, ["--limits", SMALL_OPTION]));
