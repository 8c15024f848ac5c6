import { expect, it } from "vitest";
import type { Facts } from "../families/family.ts";
import { PromptError } from "../families/text/tokenizer.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { subjectIds } from "./subject.ts";

it("says which is missing of prompt and tokenizer", () => {
	const facts = { text: { encoder: { vocabulary: 8 } } } as Facts;
	const ids = (prompt?: string) => subjectIds(facts, {} as ModelInfo, null, { prompt }, new Map());
	expect(() => ids()).toThrow(new PromptError("This model draws text: give a prompt."));
	expect(() => ids("a cat")).toThrow(/^This model has no tokenizer for the prompt: import it again with --tokenizer/);
	const draws = new Map([["text.ids", Int32Array.of(3, 1)]]);
	expect(subjectIds(facts, {} as ModelInfo, null, { prompt: "a cat" }, draws)).toEqual([3, 1]);
});
