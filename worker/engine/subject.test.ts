import { expect, it } from "vitest";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import type { Facts } from "../families/family.ts";
import { PromptError } from "../families/text/tokenizer.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { requireDrawn } from "./open.ts";
import { subjectIds } from "./subject.ts";

it("says which is missing of prompt and tokenizer", () => {
	const facts = { text: { encoder: { vocabulary: 8 } } } as Facts;
	const ids = (prompt?: string) => subjectIds(facts, {} as ModelInfo, null, { prompt }, new Map());
	expect(() => ids()).toThrow(new PromptError("This model draws text: give a prompt."));
	expect(() => ids("a cat")).toThrow(/^This model has no tokenizer for the prompt: import it again with --tokenizer/);
	const draws = new Map([["text.ids", Int32Array.of(3, 1)]]);
	expect(subjectIds(facts, {} as ModelInfo, null, { prompt: "a cat" }, draws)).toEqual([3, 1]);
});

it("what a model does not draw is refused before it is loaded", async () => {
	const folder = await openModelFolder(findModel("tiny"));
	requireDrawn(folder, [{ prompt: "a cat" }, { prompt: "a dog" }]);
	expect(() => requireDrawn(folder, [{ label: 1 }])).toThrow(/^This model draws text/);
	const long = "cat ".repeat(folder.info.maxPromptTokens);
	expect(() => requireDrawn(folder, [{ prompt: "a cat" }, { prompt: long }])).toThrow(PromptError);
	const { encoder: _, ...text } = folder.facts.text as NonNullable<Facts["text"]>;
	const bare = { ...folder, facts: { ...folder.facts, text: text as Facts["text"] } };
	expect(() => requireDrawn(bare, [{ prompt: "a cat" }])).toThrow(/: import it again with --text-encoder,/);
});
