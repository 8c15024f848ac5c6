/** Several pictures in one batch against the same pictures one by one. */
import { createHash } from "node:crypto";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { policies } from "../../worker/policies/index.ts";
import { median } from "../median.ts";
import { drawnBy, type Watch } from "./measure.ts";

export interface TogetherRow {
	policy: string;
	jobs: number;
	/** Pictures a second, together and one by one. */
	together: number;
	one_by_one: number;
	/** Milliseconds from the common start, of the middle picture: to its first preview, and finished. */
	first_preview_ms: number;
	latency_ms: number;
	/** Every job got the codes and the picture that it gets alone. */
	equal: boolean;
}

interface Made {
	hash: string;
	first: number;
	total: number;
}

/** Times each picture alone, then batches of each size. */
export async function benchTogether(
	gpu: Gpu,
	folder: ModelFolder,
	sizes: readonly number[],
	policyNames: readonly string[],
	{ signal, progress }: Watch = {},
): Promise<TogetherRow[]> {
	const most = Math.max(...sizes);
	const model = await openModel(gpu, folder, { slots: most });
	await model.compile(policyNames.map((name) => policies[name].plan(model.info, {})));
	const rows: TogetherRow[] = [];
	const pictures = policyNames.length * (1 + 2 * most + sizes.reduce((sum, jobs) => sum + jobs, 0));
	let done = 0;
	const all = async (policy: string, jobs: number) => {
		const made = await Promise.all(Array.from({ length: jobs }, (_, seed) => make(model, policy, seed, signal)));
		progress?.((done += jobs), pictures);
		return made;
	};
	progress?.(done, pictures);
	for (const policy of policyNames) {
		// Compiles what they need.
		for (const jobs of [1, most]) await all(policy, jobs);
		const alone: Made[] = [];
		for (let seed = 0; seed < most; seed++) {
			alone.push(await make(model, policy, seed, signal));
			progress?.(++done, pictures);
		}
		for (const jobs of sizes) {
			const begun = performance.now();
			const batch = await all(policy, jobs);
			const together = performance.now() - begun;
			const apart = alone.slice(0, jobs).reduce((sum, { total }) => sum + total, 0);
			rows.push({
				policy,
				jobs,
				together: (1000 * jobs) / together,
				one_by_one: (1000 * jobs) / apart,
				first_preview_ms: median(batch.map(({ first }) => first)),
				latency_ms: median(batch.map(({ total }) => total)),
				equal: batch.every(({ hash }, seed) => hash === alone[seed].hash),
			});
		}
	}
	model.destroy();
	return rows;
}

async function make(model: LoadedModel, policy: string, seed: number, signal?: AbortSignal): Promise<Made> {
	const begun = performance.now();
	const hash = createHash("sha256");
	let first = 0;
	for await (const result of model.generate({
		plan: policies[policy].plan(model.info, {}),
		...drawnBy(model.info),
		seed,
		previews: "all",
		signal,
	})) {
		first ||= performance.now() - begun;
		if (result.kind !== "revision") hash.update(result.kind === "scale" ? result.codes : result.image.data);
	}
	return { hash: hash.digest("hex"), first, total: performance.now() - begun };
}
