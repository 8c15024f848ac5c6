/** What a pool of 1000 workers costs. */
import { it } from "vitest";
import { measureCalls } from "./calls.ts";

it("takes less than two milliseconds a call", () => measureCalls(1000));
