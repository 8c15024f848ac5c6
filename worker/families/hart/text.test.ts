import { expect, test } from "vitest";
import type { HartConfig } from "./config.ts";
import { maskOf, textsOf } from "./text.ts";

test.each(["left", "right"] as const)("a prompt's own token of padding is text, padded on the %s", (padSide) => {
	const config = { textEncoder: { padId: 7, padSide }, textMaxTokens: 5 } as HartConfig;
	const subject = { ids: [1, 7, 2], draws: new Map() };
	const mask = maskOf(config, subject);
	expect(mask).toEqual(padSide === "left" ? [false, false, true, true, true] : [true, true, true, false, false]);
	const [text] = textsOf({ config, instructions: [9] } as unknown as Parameters<typeof textsOf>[0], subject);
	expect(text.filter((id) => id >= 0)).toEqual([9, 1, 7, 2]);
});
