import { describe } from "vitest";
import { findModel } from "../../model-shards/open.ts";
import { verifyInDeno } from "./deno.ts";
import { SMALL, SMALL_OPTION, verifyWithin } from "./limits.ts";
import { SETS } from "./sets.ts";

describe("Node", () => verifyWithin(SMALL, [...SETS, ["emoji-128", 3, findModel("emoji-128")]]));
describe("Deno", () => verifyInDeno(SETS, ["--limits", SMALL_OPTION]));
