import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { findModel } from "../../model-shards/open.ts";
import { groupsOf, unknownIn, wordsOf } from "./vocabulary.ts";

const { model } = JSON.parse(readFileSync(`${findModel("emoji-128")}/tokenizer.json`, "utf8"));
const words = Object.keys(model.vocab).filter((word) => !/[<>]/.test(word));

it("finds the words that a model does not know, in their places", () => {
	const text = "A photo of a Red spaceship, and two apples!";
	expect(unknownIn(text, new Set(words))).toEqual([{ text: "spaceship", from: 17, to: 26 }]);
	expect(wordsOf("  ,.! ")).toEqual([]);
	expect(
		unknownIn("红苹果 🍎", new Set(words))
			.map(({ text }) => text)
			.join(""),
	).toBe("红苹果🍎");
});

it("shows what a model can draw: things once, colours and counts by themselves", () => {
	const groups = Object.fromEntries(groupsOf(words).map(({ name, words }) => [name, words]));
	expect(groups.Things).toContain("umbrella");
	expect(groups.Things).not.toContain("umbrellas");
	expect(groups.Things).not.toContain("knives");
	expect(groups.Colours).toEqual(expect.arrayContaining(["red", "purple", "white"]));
	expect(groups.Counts).toContain("three");
});
