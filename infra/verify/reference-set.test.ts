import { join } from "node:path";
import { expect, it } from "vitest";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import { infinity } from "../../worker/families/infinity/index.ts";
import { publishedInfinity } from "../../worker/families/infinity/published.ts";
import { codebookTaps } from "../../worker/families/shared/codebook.ts";
import { temporaryFolder } from "../temporary.ts";
import { decoderLatents, type ReferenceRun } from "./reference-set.ts";

const run = (input: string, shape: number[]): ReferenceRun => ({
	name: "main",
	prompt: "",
	labels: null,
	schedule: [[1, 1]],
	scales: [null],
	draws: new Map([[input, Float32Array.from({ length: 12 }, (_, i) => i)]]),
	shapes: new Map([[input, shape]]),
	expected: new Map(),
});

it("latents for the decoder alone go by the family's own name of a latent", () => {
	const { names } = infinity.facts(publishedInfinity("2b").config);
	const [latent] = decoderLatents(run("dec.some.summed_codes", [1, 2, 2, 3]), names);
	expect(latent).toMatchObject({ prefix: "dec.some.", grid: [2, 3] });
	expect([...latent.data]).toEqual([0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]);
	expect(decoderLatents(run("dec.f_hat", [1, 2, 2, 3]), codebookTaps)).toMatchObject([{ prefix: "dec." }]);
	expect(decoderLatents(run("s0.f_hat", [1, 2, 2, 3]), codebookTaps)).toEqual([]);
});

it("an unknown name, and what is not one latent, are said", () => {
	expect(() => decoderLatents(run("dec.some.summed_codes", [1, 2, 2, 3]), codebookTaps)).toThrow(
		/^dec\.some\.summed_codes is no latent of this model, which calls them f_hat\.$/,
	);
	expect(() => decoderLatents(run("dec.some.f_hat", [2, 2, 3]), codebookTaps)).toThrow(/not one latent/);
});

it("a set without weights of its own says that it needs a model", async () => {
	const set = join(import.meta.dirname, "..", "..", "test", "reference", "emoji-128", "manifest.json");
	using out = await temporaryFolder("reference-set-");
	await expect(importReferenceSet(set, out.path)).rejects.toThrow(
		/emoji-128 holds no weights of its own: .*transformer\.safetensors is not there\. .* verify SET --model MODEL\.$/,
	);
});
