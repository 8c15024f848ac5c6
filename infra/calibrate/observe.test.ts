/** What is seen of a picture of the tiny model, and by which names. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import { policies } from "../../worker/policies/index.ts";
import type { ScaleObservation } from "../../worker/policies/measurements/measurement.ts";
import { observe } from "./observe.ts";

const gpu = await sharedGpu();
let model: LoadedModel;
beforeAll(async () => {
	model = await openModel(gpu, await openModelFolder(findModel("tiny")), { slots: 2 });
});
afterAll(() => model.destroy());

const seen = (observed: LoadedModel, ranks = false): Promise<ScaleObservation[]> =>
	observe(observed, policies.exact.plan(model.info, {}), { prompt: "a photo of a cat", seed: 7, ranks });

/** The model as if its family called the tensors of a scale otherwise. */
function renamed(words: Readonly<Record<string, string>>): LoadedModel {
	const away = (name: string) => name.replace(/^(s\d+\.)(.*)$/, (_, scale, word) => scale + (words[word] ?? word));
	return {
		...model,
		compile: (plans) => model.compile(plans),
		branches: (options) => model.branches(options),
		decode: (latent, grid, tap) => model.decode(latent, grid, tap),
		destroy: () => model.destroy(),
		generate: ({ tap, ...options }) =>
			model.generate({
				...options,
				tap: tap && {
					wants: (name) => tap.wants(away(name)),
					take: ({ name, ...tensor }) => tap.take({ ...tensor, name: away(name) }),
				},
			}),
		names: Object.fromEntries(
			Object.entries(model.names).map(([key, word]) => [key, typeof word === "string" ? (words[word] ?? word) : word]),
		) as LoadedModel["names"],
	};
}

it("sees every scale, and the ranks of the chunks where they are asked for", async () => {
	const scales = await seen(model, true);
	expect(scales).toHaveLength(4);
	for (const { conditional, unconditional, detail, highFrequency, ranks } of scales) {
		for (const share of [conditional, unconditional, detail, ...ranks]) expect(share).toBeGreaterThan(0);
		for (const share of [conditional, unconditional, detail, highFrequency, ...ranks])
			expect(share).toBeLessThanOrEqual(1);
		expect(ranks).toHaveLength(model.info.chunks.length);
	}
	expect(scales.map(({ looks }) => looks.length)).toEqual([0, 1, 2, 3]);
	expect(scales[3]).toMatchObject({ coarse: 0, middle: 0, right: null });
});

it("asks for tensors by the names that the model's family has for them", async () => {
	const other = renamed({ summed_codes: "map_so_far", logits_pre: "scores", block_in: "tokens_in" });
	expect(other.names).toMatchObject({ latent: "map_so_far", logits: "scores", input: "tokens_in" });
	expect(await seen(other)).toEqual(await seen(model));
});

it("says which tensors it did not get", async () => {
	const other = { ...renamed({ summed_codes: "map_so_far" }), names: model.names };
	await expect(seen(other)).rejects.toThrow(
		/Model tiny did not give s0\.summed_codes, s1\.summed_codes, s2\.summed_codes and others, .* family infinity/,
	);
});
