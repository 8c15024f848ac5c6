/** Runs the engine's production path over a reference set and compares every recorded tensor. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Gpu } from "../../kernels/gpu.ts";
import { openModelFolder } from "../../model-shards/folder.ts";
import { importReferenceSet } from "../../model-shards/import-reference.ts";
import { codeBits, packBits } from "../../worker/engine/codes.ts";
import { openModel } from "../../worker/engine/open-model.ts";
import type { LoadedModel, TappedTensor } from "../../worker/engine/types.ts";
import type { Dtype } from "../../worker/engine/weights.ts";
import { compare, type Comparison, subsample } from "./compare.ts";
import { readReferenceSet, referencePlan, type ReferenceRun } from "./reference-set.ts";

export interface VerifiedRun {
	name: string;
	comparisons: Comparison[];
}

/**
 * Yields each run of a set, computed with the set's own weights, imported into a temporary model folder, or with the model
 * folder given. Throws ModelFormatError for what is no such set.
 */
export async function* verifySet(gpu: Gpu, dir: string, modelFolder?: string, dtype?: Dtype): AsyncGenerator<VerifiedRun, void, undefined> {
	const runs = await readReferenceSet(dir);
	const temporary = modelFolder ? undefined : await mkdtemp(join(tmpdir(), "firstlight-verify-"));
	try {
		if (temporary) await importReferenceSet(join(dir, "manifest.json"), temporary);
		const folder = await openModelFolder(modelFolder ?? (temporary as string));
		const model = await openModel(gpu, folder, { dtype });
		try {
			for (const run of runs) yield { name: run.name, comparisons: await verifyRun(model, run, folder.tokenizer !== null) };
		} finally {
			model.destroy();
		}
	} finally {
		if (temporary) await rm(temporary, { recursive: true, force: true });
	}
}

/**
 * Feeds the recorded codes of every scale, so that one differing bit cannot spoil what follows, and compares the codes the
 * engine would have chosen itself.
 */
async function verifyRun(model: LoadedModel, run: ReferenceRun, tokenizes: boolean): Promise<Comparison[]> {
	const ids = run.draws.get("text.ids");
	if (ids && tokenizes) {
		// Our own tokenizer's ids are held against the recorded ones.
		run.draws.delete("text.ids");
		run.expected.set("text.ids", { dtype: "I32", shape: [ids.length], role: "output", exact: true, abs: 0, rel: 0, data: ids });
	}
	const bits = model.info.bitsPerToken;
	const forcedCodes = run.scales.flatMap((scale, index) => (scale ? [packBits(run.expected.get(`s${index}.bits`)?.data ?? [])] : []));
	const actual = new Map<string, ArrayLike<number>>();
	const images = [...run.expected.keys()].filter((name) => name.startsWith("image"));
	const take = ({ name, shape, data }: TappedTensor) => {
		if (name !== "image") actual.set(name, data);
		else for (const image of images) actual.set(image, subsample(data, shape, Number(/every(\d+)/.exec(image)?.[1] ?? 1)));
	};
	const wants = (name: string) => run.expected.has(name) || (name === "image" && images.length > 0);
	const plan = referencePlan(run, model.info);
	for await (const result of model.generate({
		plan, prompt: run.prompt, seed: 0, draws: run.draws, forcedCodes, sampleForced: true, previews: "none", tap: { wants, take },
	})) {
		if (result.kind === "scale") actual.set(`s${result.index}.bits`, codeBits(result.codes, result.grid[0] * result.grid[1], bits));
	}
	return [...run.expected].map(([name, expected]) => compare(name, expected, actual.get(name)));
}
